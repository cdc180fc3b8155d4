// Package vfs is all of the writer's access to the disk: a small interface that says of every operation what
// is durable when it returns and what may run at the same time. OS is the real one. Mem is one in memory, of which a
// crash keeps what was synced and, as a seed decides, parts of the rest. Fault stands before another one and has
// operations of it fail. Package vfstest has the suite that all of them pass.
//
// Errors are those of the operating system, wrapped: test them with [errors.Is] against [io/fs]'s and
// [syscall]'s, or with the predicates here.
package vfs
