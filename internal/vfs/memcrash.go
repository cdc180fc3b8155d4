package vfs

import "slices"

// nameChange is one operation on names. It is in one step: a crash leaves all of it or nothing.
type nameChange struct {
	edits []edit
	needs []*nameChange // earlier ones without which it is not possible
	waits []*node       // folders that were not synced since
	kept  bool          // every crash leaves it
}

// edit has a folder's name stand for a node, or for nothing where that is nil.
type edit struct {
	dir  *node
	name string
	node *node
}

// change does one operation on names. The caller holds mu.
func (m *Mem) change(edits ...edit) {
	c := &nameChange{edits: edits}
	for _, e := range edits {
		old := e.dir.entries[e.name]
		for _, before := range m.names {
			if before.touches(e, old) {
				c.needs = append(c.needs, before)
			}
		}
		if !slices.Contains(c.waits, e.dir) {
			c.waits = append(c.waits, e.dir)
		}
		if old != nil {
			old.names--
		}
		if e.node == nil {
			delete(e.dir.entries, e.name)
			continue
		}
		e.dir.entries[e.name] = e.node
		e.node.names++
	}
	m.names = append(m.names, c)
}

// touches reports whether an operation must have happened for a later edit to be possible: it changed the same name,
// moved the same node, or emptied the folder that the edit takes away.
func (c *nameChange) touches(later edit, old *node) bool {
	return slices.ContainsFunc(c.edits, func(e edit) bool {
		return e.dir == later.dir && e.name == later.name || e.node != nil && e.node == later.node || old != nil && (e.dir == old || e.node == old)
	})
}

// keep makes an operation durable, with those that it needs.
func (c *nameChange) keep() {
	if c.kept {
		return
	}
	c.kept = true
	for _, before := range c.needs {
		before.keep()
	}
}

// apply does the operation on what folders has for each folder, or on what a crash leaves of it.
func (c *nameChange) apply(entries func(*node) map[string]*node) {
	for _, e := range c.edits {
		if e.node == nil {
			delete(entries(e.dir), e.name)
		} else {
			entries(e.dir)[e.name] = e.node
		}
	}
}

// SyncDir implements [Folders].
func (m *Mem) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.folder(path)
	if err != nil {
		return pathError("sync", path, err)
	}
	for _, c := range m.names {
		if c.waits = slices.DeleteFunc(c.waits, func(n *node) bool { return n == dir }); len(c.waits) == 0 {
			c.keep()
		}
	}
	m.names = slices.DeleteFunc(m.names, func(c *nameChange) bool {
		if c.kept {
			c.apply(func(n *node) map[string]*node { return n.kept })
		}
		return c.kept
	})
	return nil
}

// Crash returns what a crash at this moment could leave of the file system, as another one: what was synced, and of
// the rest what seed decides. Contents that were not synced survive in pieces, operations on names whose folders
// were not all synced happened or not. Nothing is open or locked there. This file system goes on.
func (m *Mem) Crash(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := newChance(seed)
	folders := map[*node]map[string]*node{}
	entries := func(n *node) map[string]*node {
		if folders[n] == nil {
			folders[n] = map[string]*node{}
			for name, e := range n.kept {
				folders[n][name] = e
			}
		}
		return folders[n]
	}
	happened := map[*nameChange]bool{}
	for _, c := range m.names {
		possible := !slices.ContainsFunc(c.needs, func(before *nameChange) bool { return !before.kept && !happened[before] })
		if possible && r.survives() {
			happened[c] = true
			c.apply(entries)
		}
	}
	left := &Mem{limit: m.limit}
	left.root = left.copyOf(m.root, entries, r)
	left.root.names = 1
	return left
}

// copyOf makes what a crash leaves of a node.
func (m *Mem) copyOf(n *node, entries func(*node) map[string]*node, r *chance) *node {
	if !n.isDir() {
		data := n.torn(r)
		return &node{data: data, disk: data.clone()}
	}
	c := newFolder()
	names := make([]string, 0, len(entries(n)))
	for name := range entries(n) {
		names = append(names, name)
	}
	slices.Sort(names) // so that a seed decides the same again
	for _, name := range names {
		e := m.copyOf(entries(n)[name], entries, r)
		e.names = 1
		c.entries[name], c.kept[name] = e, e
		m.charge(e)
	}
	return c
}

// charge counts what a node takes of the disk now: nothing once nobody can find or read it. The caller holds mu.
func (m *Mem) charge(n *node) {
	bytes := int64(0)
	if n.names > 0 || n.handles > 0 {
		bytes = max(Block, Pad(n.data.size))
	}
	m.used += bytes - n.charged
	n.charged = bytes
}
