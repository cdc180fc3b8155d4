package analysis

import (
	"encoding/json"
	"math"
	"strconv"
)

// Num is a figure of a result. In JSON it has seven significant digits: more are noise in what float32 pixels
// and averages give. What is not a number, or infinite, is null.
type Num float64

var _ json.Marshaler = Num(0)

// MarshalJSON implements [json.Marshaler].
func (n Num) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, f, 'g', 7, 64), nil
}

func nums(fs []float64) []Num {
	ns := make([]Num, len(fs))
	for i, f := range fs {
		ns[i] = Num(f)
	}
	return ns
}
