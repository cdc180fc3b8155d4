package frames

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// RunID identifies one acquisition. Its text form is 32 lower-case hexadecimal digits.
type RunID [16]byte

// NewRunID returns a random id.
func NewRunID() RunID {
	var id RunID
	rand.Read(id[:]) // never returns an error: crypto/rand aborts the program instead
	return id
}

// ParseRunID is the inverse of [RunID.String].
func ParseRunID(s string) (RunID, error) {
	var id RunID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("%w: %q has %d characters, want %d", ErrRunID, s, len(s), 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return RunID{}, fmt.Errorf("%w: %q: %w", ErrRunID, s, err)
	}
	if id.String() != s { // one id, one text: texts are parts of file names and are compared
		return RunID{}, fmt.Errorf("%w: %q has capital letters", ErrRunID, s)
	}
	return id, nil
}

// String is the id as 32 hexadecimal digits.
func (id RunID) String() string { return hex.EncodeToString(id[:]) }

// Short is the first 8 digits: for names that people read.
func (id RunID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether the id is unset.
func (id RunID) IsZero() bool { return id == RunID{} }

// MarshalText implements [encoding.TextMarshaler].
func (id RunID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *RunID) UnmarshalText(b []byte) error {
	p, err := ParseRunID(string(b))
	if err != nil {
		return err
	}
	*id = p
	return nil
}

// Header says what a frame is; its pixels are elsewhere.
type Header struct {
	Run RunID
	// Seq counts every frame that the camera produced in the run from 0, lost ones included.
	Seq uint64
	// FrameID is the camera's own number, unwrapped to 64 bits.
	FrameID uint64
	// DeviceNS is the camera's timestamp in nanoseconds of the clock that the run names.
	DeviceNS int64
	// HostNS is the host's time of arrival, nanoseconds since the Unix epoch.
	HostNS int64
	// Checksum is the CRC-32C of the pixels (RFC 3720, appendix B.4), 0 where it is not known.
	Checksum uint32
	Geometry Geometry
}

// ValidCamera returns an error wrapping [ErrCamera] unless name is a camera name:
// [a-z0-9][a-z0-9_-]{0,31}. Names are NATS subject tokens and parts of paths.
func ValidCamera(name string) error {
	ok := len(name) >= 1 && len(name) <= 32
	for i := 0; ok && i < len(name); i++ {
		c := name[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && (c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w %q: want 1 to 32 of a-z 0-9 _ -, beginning with a letter or digit", ErrCamera, name)
	}
	return nil
}
