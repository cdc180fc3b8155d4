package config

import (
	"fmt"
	"math"
	"strconv"

	"github.com/dustin/go-humanize"
)

// ByteSize is a number of bytes, at least one where it was given.
type ByteSize int64

// ParseByteSize reads "256MiB", "1.5GB" or "4096" (bytes). KiB, MiB, GiB, TiB are powers of 1024; kB, MB,
// GB, TB are powers of 1000. Zero, negative and unbelievably large sizes are refused.
func ParseByteSize(s string) (ByteSize, error) {
	n, err := humanize.ParseBytes(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%w: %q is not a size: want a number of bytes, such as 256MiB, 1GB or 4096", ErrValue, s)
	case n == 0:
		return 0, fmt.Errorf("%w: the size %q is zero: it must be more", ErrValue, s)
	case n > math.MaxInt64:
		return 0, fmt.Errorf("%w: the size %q is more than 8 EiB", ErrValue, s)
	}
	return ByteSize(n), nil
}

// String is the exact size in the largest unit that divides it: ParseByteSize gives the same size again.
func (b ByteSize) String() string {
	for _, units := range []struct {
		base  ByteSize
		names []string
	}{
		{1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}},
		{1000, []string{"kB", "MB", "GB", "TB", "PB", "EB"}},
	} {
		n, unit := b, ""
		for _, name := range units.names {
			if n == 0 || n%units.base != 0 {
				break
			}
			n, unit = n/units.base, name
		}
		if unit != "" {
			return strconv.FormatInt(int64(n), 10) + unit
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// MarshalText implements [encoding.TextMarshaler].
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (b *ByteSize) UnmarshalText(text []byte) error {
	n, err := ParseByteSize(string(text))
	if err != nil {
		return err
	}
	*b = n
	return nil
}
