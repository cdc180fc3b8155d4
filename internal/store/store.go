package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// Options are what a writer may choose. The zero value is complete, except that who writes needs a name.
type Options struct {
	// Writer names the ledger that this process appends to: like a camera's name. Only readers have none.
	Writer string
	// Depth is how many writes are in flight at most (default DefaultDepth).
	Depth int
	// Encoders is how many frames are compressed at a time at most (default GOMAXPROCS).
	Encoders int
	// LockTimeout bounds the wait for the store's lock (default 10 s).
	LockTimeout time.Duration
	Hooks       Hooks
}

// Hooks tell of the store's work while it goes on. They are called from many goroutines and must not block.
type Hooks struct {
	// Synced tells how long a sync of data or journal took.
	Synced func(time.Duration)
	// Working tells with +1 that a goroutine begins to compute (copy, checksum, compress), with -1 that it ends.
	Working func(delta int)
}

func (o Options) withDefaults() Options {
	if o.Depth == 0 {
		o.Depth = DefaultDepth
	}
	if o.Encoders == 0 {
		o.Encoders = runtime.GOMAXPROCS(0)
	}
	if o.LockTimeout == 0 {
		o.LockTimeout = 10 * time.Second
	}
	if o.Hooks.Synced == nil {
		o.Hooks.Synced = func(time.Duration) {}
	}
	if o.Hooks.Working == nil {
		o.Hooks.Working = func(int) {}
	}
	return o
}

const (
	stagingBytes = 2 << 20   // of one staging buffer
	stagingCount = 6         // at most
	bounceLimit  = 32 << 20  // of all bounce buffers, unless one frame is larger
	encodedLimit = 256 << 20 // of all encoders' output buffers, unless one frame is larger
)

// Store is one run on disk, opened by one writer. Its methods may be called concurrently.
type Store struct {
	fs   vfs.FS
	at   layout
	spec run.Spec
	opts Options

	// stride is the distance of chunks in a shard's file in bytes, 0 where they are packed.
	stride  int64
	encoder Encoder // nil for codecNone

	writes   token // as many as writes may be in flight
	packing  token // held by the one commit that fills staging buffers
	encoding token // held by the one commit that begins to compress its frames
	encoders token // as many as frames may be compressed at a time
	growing  token // held by who makes the arrays grow
	staging  *pool // chunks to be packed
	bounce   *pool // copies of pixels whose memory is not aligned
	encoded  *pool // the encoder's output

	ledger   *ledger
	events   *logFile
	results  map[string]*logFile // by kind
	spared   bool                // space for the end of the run was set aside when this Store was opened
	live     io.Closer           // the shared lock that keeps recover away; nil for a reader and in a finished store
	grown    uint64              // frames: how long the arrays are, by this Store; guarded by growing
	captured atomic.Uint64
	kept     struct {
		sync.Mutex
		named, durable uint64 // of captured frames, by the marks that were named and those that are durable
	}
	stored atomic.Uint64 // bytes of chunks
}

// Open opens the store at path for the run with the given id; the zero id accepts every run. The error wraps
// ErrNotStore, ErrOtherRun, ErrInUse while the store is recovered, or what the disk said.
func Open(ctx context.Context, fs vfs.FS, path string, id frames.RunID, opts Options) (*Store, error) {
	a, err := ReadAttributes(fs, path)
	if err != nil {
		return nil, err
	}
	if !id.IsZero() && a.Run != id {
		return nil, fmt.Errorf("opening %s: %w: it has %s, not %s", path, ErrOtherRun, a.Run, id)
	}
	s, err := newStore(fs, path, a.Spec, opts)
	if err != nil {
		return nil, err
	}
	if s.opts.Writer == "" {
		return s, nil
	}
	// Whoever made the store may have died before its name was durable.
	err = fs.SyncDir(filepath.Dir(path))
	if err == nil && !a.Finished {
		err = s.hold(ctx, fs.LockShared)
	}
	if err == nil {
		s.spared, err = s.hasSpare()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", path, err), s.Close())
	}
	return s, nil
}

// hold says that the store is open for writing, until Close. A store that was finished meanwhile is held by nobody.
func (s *Store) hold(ctx context.Context, lock func(context.Context, string) (io.Closer, error)) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.LockTimeout)
	defer cancel()
	held, err := lock(ctx, s.at.work(liveName))
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case vfs.IsNotExist(err):
		if a, metaErr := s.attributes(); metaErr == nil && a.Finished {
			return nil
		}
		return err
	}
	s.live = held
	return err
}

// ReadAttributes reads what the store at path says of its run.
func ReadAttributes(fs vfs.FS, path string) (Attributes, error) {
	b, err := readFile(fs, filepath.Join(path, metaName), maxMeta)
	if err != nil {
		if vfs.IsNotExist(err) {
			return Attributes{}, fmt.Errorf("opening %s: %w: %w", path, ErrNotStore, err)
		}
		return Attributes{}, fmt.Errorf("opening %s: %w", path, err)
	}
	a, err := parseRoot(b)
	if err != nil {
		return Attributes{}, fmt.Errorf("opening %s: %w", path, err)
	}
	return a, nil
}

// maxMeta bounds what is read of a zarr.json, in bytes.
const maxMeta = 64 << 20

func newStore(fs vfs.FS, path string, spec run.Spec, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	s := &Store{
		fs: fs, at: layout{path, spec.Geometry.Channels}, spec: spec, opts: opts,
		writes:   make(token, opts.Depth),
		packing:  make(token, 1),
		encoding: make(token, 1),
		encoders: make(token, opts.Encoders),
		growing:  make(token, 1),
	}
	var err error
	if s.encoder, err = NewEncoder(spec, opts.Encoders); err != nil {
		return nil, err
	}
	size := spec.Geometry.FrameBytes()
	stored := s.maxChunk()
	if pad := vfs.Pad(int64(size)); s.encoder == nil && (pad-int64(size))*20 <= int64(size) {
		s.stride = pad
	}
	staging := min(stagingBytes, vfs.Pad(int64(stored)*int64(spec.ShardFrames)))
	s.staging = newPool(int(staging), stagingCount, stagingBytes*stagingCount)
	s.bounce = newPool(int(vfs.Pad(int64(stored))), opts.Depth, bounceLimit)
	s.encoded = newPool(stored, opts.Encoders+2, encodedLimit)
	s.ledger = newLedger(s.withSpare, &logFile{fs: fs, path: s.at.join(ledgerDir, opts.Writer+".jsonl")})
	s.events = &logFile{fs: fs, path: s.at.join(eventsName)}
	s.results = newResults(fs, s.at)
	return s, nil
}

// maxChunk is the most bytes that a stored chunk has.
func (s *Store) maxChunk() int {
	size := s.spec.Geometry.FrameBytes()
	if s.encoder != nil {
		return s.encoder.MaxEncodedSize(size)
	}
	return size
}

// Spec describes the run.
func (s *Store) Spec() run.Spec { return s.spec }

// Path is the store's folder.
func (s *Store) Path() string { return s.at.root }

// BufferBytes is the most that the store's own buffers for pixels hold. What compression needs inside the
// encoder comes on top.
func (s *Store) BufferBytes() int64 {
	switch {
	case s.encoder != nil:
		return s.staging.bytes() + s.encoded.bytes() + s.bounce.bytes()
	case s.stride == 0:
		return s.staging.bytes() + s.bounce.bytes()
	}
	return s.bounce.bytes()
}

// NoteCaptured tells how many frames the camera has produced so far: each commit writes the highest number
// into its journal.
func (s *Store) NoteCaptured(n uint64) {
	for old := s.captured.Load(); old < n && !s.captured.CompareAndSwap(old, n); {
		old = s.captured.Load()
	}
}

// AppendEvent appends an event, JSON without line breaks, to events.jsonl. It is durable after Finish or Close.
func (s *Store) AppendEvent(event []byte) error {
	if !json.Valid(event) {
		return fmt.Errorf("appending an event: %w: it is not JSON", ErrFrame)
	}
	return s.events.append(append(oneLine(event), '\n'))
}

// oneLine copies a JSON text with its line breaks, which can stand only between tokens, as spaces.
func oneLine(text []byte) []byte {
	line := make([]byte, 0, len(text)+1)
	for _, c := range text {
		if c == '\n' || c == '\r' {
			c = ' '
		}
		line = append(line, c)
	}
	return line
}

// StoredBytes is the size of the chunks that this Store has made durable.
func (s *Store) StoredBytes() uint64 { return s.stored.Load() }

// ReadableUntil is the number of frames that a reader of the image array finds now.
func (s *Store) ReadableUntil() (uint64, error) {
	return readLength(s.fs, s.at.join(imageName))
}

func readLength(fs vfs.FS, array string) (uint64, error) {
	path := filepath.Join(array, metaName)
	b, err := readFile(fs, path, maxMeta)
	if err != nil {
		return 0, fmt.Errorf("reading an array's length: %w", err)
	}
	n, err := parseLength(b)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", path, err)
	}
	return n, nil
}

// FreeBytes is the space left on the store's disk.
func (s *Store) FreeBytes() (uint64, error) { return s.fs.Free(s.at.root) }

// Close frees what the store holds. Its shards must be closed before.
func (s *Store) Close() error {
	err := errors.Join(s.events.sync(), s.events.close(), s.ledger.log.close())
	for _, r := range s.results {
		err = errors.Join(err, r.sync(), r.close())
	}
	if s.encoder != nil {
		err = errors.Join(err, s.encoder.Close())
	}
	if s.live != nil {
		err = errors.Join(err, s.live.Close())
		s.live = nil
	}
	return err
}

// lock takes the store's lock, within Options.LockTimeout.
func (s *Store) lock(ctx context.Context) (io.Closer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.opts.LockTimeout)
	defer cancel()
	return s.fs.Lock(ctx, s.at.lock())
}

// synced runs a sync and tells how long it took.
func (s *Store) synced(sync func() error) error {
	start := time.Now()
	err := sync()
	s.opts.Hooks.Synced(time.Since(start))
	return err
}
