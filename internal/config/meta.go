package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	"github.com/alecthomas/kong"
)

// maxMeta bounds the bytes of the user's metadata, keys and values together.
const maxMeta = 16 << 10

// Meta is the user's metadata.
type Meta map[string]string

var _ kong.MapperValue = (*Meta)(nil)

// Decode takes one "key=value" (the flag, which may be repeated), a JSON object of strings (the environment)
// or a mapping of scalars (the configuration file).
func (m *Meta) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("key=value")
	if err != nil {
		return err
	}
	add := map[string]string{}
	switch v := token.Value.(type) {
	case map[string]string:
		add = v
	case string:
		if strings.HasPrefix(v, "{") {
			if err := json.Unmarshal([]byte(v), &add); err != nil {
				return fmt.Errorf("%w: %q is not a JSON object of strings", ErrValue, v)
			}
			break
		}
		key, value, ok := strings.Cut(v, "=")
		if !ok {
			return fmt.Errorf("%w: %q is not key=value", ErrValue, v)
		}
		add[key] = value
	default:
		return fmt.Errorf("%w: want a mapping of keys to values", ErrValue)
	}
	if *m == nil {
		*m = Meta{}
	}
	maps.Copy(*m, add)
	return m.check()
}

// check refuses empty keys and too much data.
func (m Meta) check() error {
	size := 0
	for key, value := range m {
		if key == "" {
			return fmt.Errorf("%w: metadata needs a key before the =", ErrValue)
		}
		size += len(key) + len(value)
	}
	if size > maxMeta {
		return fmt.Errorf("%w: %d bytes of metadata are more than %d", ErrValue, size, maxMeta)
	}
	return nil
}
