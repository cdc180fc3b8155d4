package vfs

// faultFile is an open file of a Fault. Direct, Size and Removed ask the kernel's memory alone: they don't count.
type faultFile struct {
	File
	fs   *Fault
	path string
}

var _ File = (*faultFile)(nil)

func (f *faultFile) ReadAt(b []byte, off int64) (n int, err error) {
	err = f.fs.do("read", f.path, func() (err error) { n, err = f.File.ReadAt(b, off); return err })
	return n, err
}

func (f *faultFile) WriteAt(b []byte, off int64) (int, error) {
	err := f.write([][]byte{b}, func(bs [][]byte) error { _, err := f.File.WriteAt(bs[0], off); return err })
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

func (f *faultFile) WriteVec(bs [][]byte, off int64) error {
	return f.write(bs, func(bs [][]byte) error { return f.File.WriteVec(bs, off) })
}

func (f *faultFile) Append(b []byte) error {
	return f.write([][]byte{b}, func(bs [][]byte) error { return f.File.Append(bs[0]) })
}

// write does one write, or the first half of it.
func (f *faultFile) write(bs [][]byte, write func([][]byte) error) error {
	in, err := f.fs.before("write", f.path)
	if err != nil {
		return err
	}
	if in == Short {
		bs, in = half(bs), Late
	}
	return in.after("write", f.path, write(bs))
}

// half is the first half of a write's bytes, in whole blocks where that many are written.
func half(bs [][]byte) [][]byte {
	if len(bs) > 1 {
		return bs[:len(bs)/2]
	}
	n := len(bs[0]) / 2
	if n >= Block {
		n -= n % Block
	} else if len(bs[0])%Block == 0 {
		n = 0
	}
	return [][]byte{bs[0][:n]}
}

func (f *faultFile) Truncate(size int64) error {
	return f.fs.do("truncate", f.path, func() error { return f.File.Truncate(size) })
}

func (f *faultFile) Allocate(off, n int64) error {
	return f.fs.do("fallocate", f.path, func() error { return f.File.Allocate(off, n) })
}

func (f *faultFile) Datasync() error { return f.sync("fdatasync", f.File.Datasync) }
func (f *faultFile) Sync() error     { return f.sync("fsync", f.File.Sync) }

// sync does one sync. One that fails has the file forget what it was to write, where it can.
func (f *faultFile) sync(name string, sync func() error) error {
	in, err := f.fs.before(name, f.path)
	if err != nil {
		if m, ok := f.File.(*memFile); ok {
			m.drop(uint64(f.fs.Count()))
		}
		return err
	}
	return in.after(name, f.path, sync())
}

// Close closes the file in any case.
func (f *faultFile) Close() error {
	in, err := f.fs.before("close", f.path)
	closed := f.File.Close()
	if err != nil {
		return err
	}
	return in.after("close", f.path, closed)
}
