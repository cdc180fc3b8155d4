package frames

import "fmt"

// Dtype is the type of one pixel sample. Samples are little-endian.
type Dtype uint8

// The sample types. The numbers are part of the wire format and of the slab.
const (
	Uint8  Dtype = 1
	Uint16 Dtype = 2
)

// Size is the number of bytes of one sample, or 0 for a Dtype that is not defined.
func (d Dtype) Size() int {
	switch d {
	case Uint8:
		return 1
	case Uint16:
		return 2
	}
	return 0
}

// String is the name that NumPy and Zarr v3 give the type.
func (d Dtype) String() string {
	switch d {
	case Uint8:
		return "uint8"
	case Uint16:
		return "uint16"
	}
	return fmt.Sprintf("dtype(%d)", uint8(d))
}

// ParseDtype is the inverse of [Dtype.String].
func ParseDtype(s string) (Dtype, error) {
	for _, d := range []Dtype{Uint8, Uint16} {
		if d.String() == s {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%w: dtype %q is neither uint8 nor uint16", ErrGeometry, s)
}

// MarshalText implements [encoding.TextMarshaler].
func (d Dtype) MarshalText() ([]byte, error) {
	if d.Size() == 0 {
		return nil, fmt.Errorf("%w: %s", ErrGeometry, d)
	}
	return []byte(d.String()), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Dtype) UnmarshalText(b []byte) error {
	p, err := ParseDtype(string(b))
	if err != nil {
		return err
	}
	*d = p
	return nil
}
