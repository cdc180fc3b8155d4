// Package slab is the shared memory that holds a run's frames: a file in a memory file system, mapped by acquire
// to write and by consumers to read. It is the budget: allocated whole when the run is armed.
//
// Everything that a restarted acquire must know lies in it: how many frames were captured, which slots hold which
// frames for which groups, and which losses no ledger has confirmed yet. acquire is the only one who writes, and
// holds the file's lock for as long as it lives.
//
// # Layout
//
// All numbers are little-endian, as is every machine that this runs on; every region begins on a page of 4096 bytes.
//
//	header    page 0     what is fixed, with a checksum (see header.go); at 2048 and 3072 what changes, twice (see state.go)
//	spec      64 KiB     the run's description, JSON
//	notes     8 KiB      the run's warnings, twice (see notes.go)
//	slots     128 B each state of each slot (see slot.go)
//	losses    80 B each  ranges of lost frames on their way to a ledger (see losses.go)
//	owners    16 B each  under which epoch shards were given to their owners (see owners.go)
//	data      slots × stride, stride = frame bytes rounded up to 4096
//
// # Why a reader can trust it
//
// A slot's generation grows by one when acquire begins to fill it (it is then odd) and by one when the frame is
// complete. A reader that finds the offered generation before and after reading has read that frame. Offers are
// checked against the slot count and the record before a byte is touched. The file is allocated before it is
// mapped, never truncated while it exists, and only ever unlinked: a mapping of it cannot fault.
package slab
