// Package cameratest has the suite that every camera passes, and a scripted camera with all the bad habits
// of real ones, for the tests of those who use cameras.
package cameratest
