package slab

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/pkg/frames"
)

// PageSize is the alignment of slots: what direct I/O asks for on every disk.
const PageSize = 4096

const (
	magic     = "SLUICESL"
	version   = 3
	specSize  = 64 << 10
	slotSize  = 128
	notesSize = 2 * PageSize
	minLosses = 4096
	lossSize  = 80
	// MaxSlots bounds the slot table: a million frames in memory.
	MaxSlots = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Phase is how far the run in a slab has come.
type Phase uint32

// The phases.
const (
	Capturing Phase = 1 // frames may still come
	Draining  Phase = 2 // the camera's last frame is in
	Done      Phase = 3 // every frame is durable or ledgered; the slab may go
	Armed     Phase = 4 // the run has not been started
)

// layout is the fixed part of the header: offsets and sizes in bytes from the file's begin.
type layout struct {
	slots      int
	frameBytes int
	stride     int
	slotsAt    int
	lossesAt   int
	losses     int // entries
	ownersAt   int
	dataAt     int
	total      int
	run        frames.RunID
	camera     string
	specLen    int
}

func pad(n int) int { return (n + PageSize - 1) / PageSize * PageSize }

// Stride is the size of a slot for frames of the given size.
func Stride(frameBytes int) int { return pad(frameBytes) }

func newLayout(spec run.Spec, slots, specLen int) layout {
	l := layout{slots: slots, frameBytes: spec.Geometry.FrameBytes(), run: spec.Run, camera: spec.Camera, specLen: specLen}
	l.stride = Stride(l.frameBytes)
	l.slotsAt = PageSize + specSize + notesSize
	l.lossesAt = l.slotsAt + pad(slots*slotSize)
	// Between two ranges of lost frames lies a frame in a slot, or it is one range; and some for those on their way.
	l.losses = minLosses + slots
	l.ownersAt = l.lossesAt + pad(l.losses*lossSize)
	l.dataAt = l.ownersAt + pad(ownerEntries*ownerSize)
	l.total = l.dataAt + slots*l.stride
	return l
}

// check refuses descriptions that would lead out of the folder, out of memory or into a division by zero.
func check(spec run.Spec) error {
	if err := spec.Geometry.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if err := frames.ValidCamera(spec.Camera); err != nil {
		return fmt.Errorf("%w: %w", ErrSpec, err)
	}
	if spec.ShardFrames == 0 {
		return fmt.Errorf("%w: shards of 0 frames", ErrSpec)
	}
	return nil
}

// Fixed header: magic 8, version 4, slots 4, frame bytes 8, stride 8, slots at 8, losses at 8, data at 8, total 8,
// run 16, camera 32, spec length 4, crc32c of all before it 4, crc32c of the spec 4.
const (
	fixedCRC = 116
	specCRC  = 120
)

func (l layout) put(b, spec []byte) {
	copy(b, magic)
	binary.LittleEndian.PutUint32(b[8:], version)
	binary.LittleEndian.PutUint32(b[12:], uint32(l.slots))
	for i, v := range []int{l.frameBytes, l.stride, l.slotsAt, l.lossesAt, l.dataAt, l.total} {
		binary.LittleEndian.PutUint64(b[16+8*i:], uint64(v))
	}
	copy(b[64:80], l.run[:])
	copy(b[80:112], l.camera)
	binary.LittleEndian.PutUint32(b[112:], uint32(l.specLen))
	copy(b[PageSize:], spec)
	seal(b, l.specLen)
}

// seal stores the checksums of the fixed header and of a description of the given length.
func seal(b []byte, specLen int) {
	binary.LittleEndian.PutUint32(b[fixedCRC:], crc32.Checksum(b[:fixedCRC], castagnoli))
	binary.LittleEndian.PutUint32(b[specCRC:], crc32.Checksum(b[PageSize:PageSize+specLen], castagnoli))
}

// parse reads and checks the fixed header and the spec of a file of the given size. b holds its first
// PageSize + specSize bytes. Every offset that it returns lies inside the file.
func parse(b []byte, size int64) (layout, run.Spec, error) {
	var spec run.Spec
	bad := func(format string, args ...any) (layout, run.Spec, error) {
		return layout{}, spec, fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
	}
	if len(b) < PageSize+specSize {
		return bad("%d bytes are too few for a header", len(b))
	}
	if string(b[:8]) != magic {
		return bad("it does not begin with %q", magic)
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != version {
		return bad("its version is %d, this program knows %d", v, version)
	}
	if crc32.Checksum(b[:fixedCRC], castagnoli) != binary.LittleEndian.Uint32(b[fixedCRC:]) {
		return bad("its header's checksum is wrong")
	}
	specLen := binary.LittleEndian.Uint32(b[112:])
	slots := binary.LittleEndian.Uint32(b[12:])
	if specLen > specSize || slots == 0 || slots > MaxSlots {
		return bad("%d slots and %d bytes of description", slots, specLen)
	}
	text := b[PageSize : PageSize+int(specLen)]
	if crc32.Checksum(text, castagnoli) != binary.LittleEndian.Uint32(b[specCRC:]) {
		return bad("its description's checksum is wrong")
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return bad("its description: %v", err)
	}
	if err := check(spec); err != nil {
		return bad("%v", err)
	}
	l := newLayout(spec, int(slots), int(specLen))
	for i, want := range []int{l.frameBytes, l.stride, l.slotsAt, l.lossesAt, l.dataAt, l.total} {
		if got := binary.LittleEndian.Uint64(b[16+8*i:]); got != uint64(want) {
			return bad("size %d in its header is %d, its description makes %d", i, got, want)
		}
	}
	if size != int64(l.total) {
		return bad("it has %d bytes, its header says %d", size, l.total)
	}
	if [16]byte(b[64:80]) != spec.Run || string(bytes.TrimRight(b[80:112], "\x00")) != spec.Camera {
		return bad("its header and its description name different runs")
	}
	return l, spec, nil
}
