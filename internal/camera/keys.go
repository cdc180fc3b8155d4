package camera

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Keys reads the keys of one source. The first thing that is wrong is kept and returned by Err, so that a
// parser reads all its keys in a row.
type Keys struct {
	scheme string
	values map[string]string
	err    error
}

// Keys begins to read the source's keys, of which known are all that may stand.
func (s Source) Keys(known ...string) *Keys {
	k := &Keys{scheme: s.Scheme, values: make(map[string]string, len(s.pairs))}
	for _, p := range s.pairs {
		if !slices.Contains(known, p.key) {
			k.fail("unknown key %q: want %s", p.key, strings.Join(known, ", "))
		}
		k.values[p.key] = p.value
	}
	return k
}

// Err returns nil, or an error wrapping [ErrSource] that names the first wrong key and what would be right.
func (k *Keys) Err() error { return k.err }

// Fail records an error about the keys unless there is one already.
func (k *Keys) fail(format string, args ...any) {
	if k.err == nil {
		k.err = fmt.Errorf("%w %s: %s", ErrSource, k.scheme, fmt.Sprintf(format, args...))
	}
}

// Check records an error about key, saying what would be right, unless ok.
func (k *Keys) Check(ok bool, key, want string) {
	if ok {
		return
	}
	if v, given := k.values[key]; given {
		k.fail("%s=%s: want %s", key, v, want)
		return
	}
	k.fail("%s is missing: want %s", key, want)
}

// Has reports whether the key stands in the URI.
func (k *Keys) Has(key string) bool { _, ok := k.values[key]; return ok }

// Uint reads a whole number from low to high, or returns def where the key does not stand.
func (k *Keys) Uint(key string, def, low, high uint64) uint64 {
	v, ok := k.values[key]
	if !ok {
		return def
	}
	base := 10
	digits := v
	if h, hex := strings.CutPrefix(v, "0x"); hex {
		base, digits = 16, h
	}
	n, err := strconv.ParseUint(digits, base, 64)
	if err != nil || n < low || n > high {
		if high == math.MaxUint64 {
			k.fail("%s=%s: want a whole number of at least %d, without a unit", key, v, low)
		} else {
			k.fail("%s=%s: want a whole number from %d to %d, without a unit", key, v, low, high)
		}
		return def
	}
	return n
}

// Int reads a whole number as Uint does.
func (k *Keys) Int(key string, def, low, high int) int {
	return int(k.Uint(key, uint64(def), uint64(low), uint64(high)))
}

// Float reads a finite number from low to high, or returns def where the key does not stand. what says
// what the number counts, such as "frames per second".
func (k *Keys) Float(key string, def, low, high float64, what string) float64 {
	v, ok := k.values[key]
	if !ok {
		return def
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || math.IsNaN(f) || f < low || f > high {
		k.fail("%s=%s: want a number (%s, without a unit) from %g to %g", key, v, what, low, high)
		return def
	}
	return f
}

// Bool reads true or false, or returns def where the key does not stand.
func (k *Keys) Bool(key string, def bool) bool {
	w := "false"
	if def {
		w = "true"
	}
	return k.Word(key, w, "true", "false") == "true"
}

// Word reads one of words, or returns def where the key does not stand.
func (k *Keys) Word(key, def string, words ...string) string {
	v, ok := k.values[key]
	if !ok {
		return def
	}
	if !slices.Contains(words, v) {
		k.fail("%s=%s: want %s", key, v, strings.Join(words, " or "))
		return def
	}
	return v
}
