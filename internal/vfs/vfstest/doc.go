// Package vfstest has the suite that every implementation of [vfs.FS] passes.
package vfstest
