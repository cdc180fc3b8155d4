// Package vfs is all of the writer's access to the disk: a small interface that says of every operation what
// is durable when it returns and what may run at the same time. OS is the real one; others (in memory, with
// faults) can stand in its place, because nothing above this package touches a file in another way.
//
// Errors are those of the operating system, wrapped: test them with [errors.Is] against [io/fs]'s and
// [syscall]'s, or with the predicates here.
package vfs
