package vfs

import "slices"

// content is what a file of a Mem holds. Copies share their blocks, which never change.
type content struct {
	blocks [][]byte // of Block bytes each; nil for zeros
	size   int64
}

// clone is a content that changes by itself.
func (c content) clone() content { return content{slices.Clone(c.blocks), c.size} }

// read copies what is at off, up to the end.
func (c content) read(b []byte, off int64) int {
	n := int(max(0, min(int64(len(b)), c.size-off)))
	for done := 0; done < n; {
		block, at := c.blocks[(off+int64(done))/Block], int((off+int64(done))%Block)
		part := b[done:min(n, done+Block-at)]
		if block == nil {
			clear(part)
		} else {
			copy(part, block[at:])
		}
		done += len(part)
	}
	return n
}

// write changes what is at off. The content keeps b.
func (c *content) write(b []byte, off int64) {
	c.resize(max(c.size, off+int64(len(b))))
	for len(b) > 0 {
		i, at := off/Block, off%Block
		n := min(int64(len(b)), Block-at)
		block := b[:n:n]
		if n < Block {
			block = make([]byte, Block)
			copy(block, c.blocks[i])
			copy(block[at:], b[:n])
		}
		c.blocks[i] = block
		b, off = b[n:], off+n
	}
}

// resize changes the length; what is new is zero.
func (c *content) resize(size int64) {
	n := int(Pad(size) / Block)
	switch {
	case n > len(c.blocks):
		c.blocks = append(c.blocks, make([][]byte, n-len(c.blocks))...)
	case size < c.size:
		c.blocks = c.blocks[:n:n]
		if at := size % Block; at > 0 && c.blocks[n-1] != nil {
			cut := make([]byte, Block)
			copy(cut, c.blocks[n-1][:at])
			c.blocks[n-1] = cut
		}
	}
	c.size = size
}
