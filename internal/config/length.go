package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Length is a length in micrometres.
type Length float64

// lengthUnits has each unit's size in micrometres.
func lengthUnits() map[string]float64 {
	return map[string]float64{"nm": 1e-3, "um": 1, "µm": 1, "μm": 1, "mm": 1e3, "cm": 1e4, "m": 1e6}
}

// ParseLength reads "0.65um", "650nm" or "1mm". The unit is required; a length that is not positive and
// finite is refused.
func ParseLength(s string) (Length, error) {
	number := strings.TrimRight(s, "nuµμmc")
	unit, ok := lengthUnits()[s[len(number):]]
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !ok {
		return 0, fmt.Errorf("%w: %q is not a length: want a number and one of nm, um, mm, such as 0.65um", ErrValue, s)
	}
	if v *= unit; !(v > 0) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%w: the length %q must be more than zero", ErrValue, s)
	}
	return Length(v), nil
}

// Micrometres is the length as a bare number.
func (l Length) Micrometres() float64 { return float64(l) }

// String is the length in micrometres, with its unit.
func (l Length) String() string { return strconv.FormatFloat(float64(l), 'g', -1, 64) + "um" }

// MarshalText implements [encoding.TextMarshaler].
func (l Length) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (l *Length) UnmarshalText(text []byte) error {
	v, err := ParseLength(string(text))
	if err != nil {
		return err
	}
	*l = v
	return nil
}
