package vfs

import (
	"io/fs"
	"math/rand/v2"
	"time"
)

// node is a file or a folder of a Mem, whose mutex guards it.
type node struct {
	data  content  // what is read
	disk  content  // what a crash leaves in any case
	dirty []change // what was done to data and not synced, in order

	entries map[string]*node // what is found; nil for a file
	kept    map[string]*node // what a crash leaves in any case

	names   int   // in how many folders it is found
	handles int   // how often it is open
	charged int64 // bytes that it takes of the disk
	locked  int   // 1 for each shared holder, lockHolders for the exclusive one
}

// change is a write at off, or where b is nil a new size.
type change struct {
	off int64
	b   []byte
}

func newFolder() *node { return &node{entries: map[string]*node{}, kept: map[string]*node{}} }

func (n *node) isDir() bool { return n.entries != nil }

// write changes what is read.
func (n *node) write(b []byte, off int64) { n.do(change{off, append([]byte{}, b...)}) }

func (n *node) resize(size int64) { n.do(change{off: size}) }

func (n *node) do(c change) {
	c.apply(&n.data)
	n.dirty = append(n.dirty, c)
}

func (c change) apply(to *content) {
	if c.b == nil {
		to.resize(c.off)
	} else {
		to.write(c.b, c.off)
	}
}

// sync makes the disk have every change.
func (n *node) sync() {
	for _, c := range n.dirty {
		c.apply(&n.disk)
	}
	n.dirty = nil
}

// torn is what a crash may leave: the changes that were not synced survive in pieces of 512 or of 4096 bytes, each
// by chance. Where a piece that makes the file longer is lost, the length may have reached the disk without it, with zeros
// or with what the disk had there before.
func (n *node) torn(r *chance) content {
	data := n.disk.clone()
	for _, c := range n.dirty {
		for _, part := range c.parts(r.grain) {
			switch {
			case r.survives():
				part.apply(&data)
			case part.b != nil && part.off+int64(len(part.b)) > data.size:
				r.longer(&data, part)
			}
		}
	}
	return data
}

// parts cuts a write at the multiples of grain.
func (c change) parts(grain int64) []change {
	if c.b == nil {
		return []change{c}
	}
	var ps []change
	for off, b := c.off, c.b; len(b) > 0; {
		k := min(int64(len(b)), grain-off%grain)
		ps = append(ps, change{off, b[:k]})
		off, b = off+k, b[k:]
	}
	return ps
}

// chance decides what survives a crash.
type chance struct {
	rng   *rand.Rand
	grain int64
	of    int // how many of four changes survive
}

func newChance(seed uint64) *chance {
	r := &chance{rng: rand.New(rand.NewPCG(seed, 0x51)), grain: 512}
	if r.rng.IntN(2) == 0 {
		r.grain = Block
	}
	r.of = r.rng.IntN(5)
	return r
}

func (r *chance) survives() bool { return r.rng.IntN(4) < r.of }

// longer lets the length of a piece that was lost survive, or not.
func (r *chance) longer(data *content, part change) {
	end := part.off + int64(len(part.b))
	switch r.rng.IntN(4) {
	case 0:
		data.resize(end)
	case 1:
		from := max(part.off, data.size)
		stale := make([]byte, end-from)
		for i := range stale {
			stale[i] = byte(r.rng.Uint32())
		}
		data.write(stale, from)
	}
}

// memInfo describes a node.
type memInfo struct {
	name string
	size int64
	dir  bool
}

var _ fs.FileInfo = memInfo{}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
