package config

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sluicedaq/sluice/internal/camera"
)

// Env returns the options in block, a pointer to one of this package's structs, as sorted environment
// variables "SLUICE_NAME=value": a child that parses a struct with these options gets equal ones. Options
// that were not given and have no default are left out. Secrets may be among them: the environment is readable
// by its user alone, unlike a command line.
func Env(block any) ([]string, error) {
	values, err := Values(block)
	if err != nil {
		return nil, err
	}
	env := make([]string, 0, len(values))
	for name, value := range values {
		env = append(env, EnvName(name)+"="+value)
	}
	sort.Strings(env)
	return env, nil
}

// WithoutOptions is environ without the variables that set options, so that those of [Env] are the only ones.
func WithoutOptions(environ []string) []string {
	var kept []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "SLUICE_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// Values returns the options in block by the names of their flags, each in the form that its flag takes.
func Values(block any) (map[string]string, error) {
	k, err := kong.New(block, append(kongOptions(), kong.NoDefaultHelp())...)
	if err != nil {
		return nil, fmt.Errorf("listing options: %w", err)
	}
	values := map[string]string{}
	for _, flags := range k.Model.AllFlags(false) {
		for _, flag := range flags {
			if flag.Name == "config" || flag.Name == "version" {
				continue
			}
			if flag.Target.IsZero() && (!flag.HasDefault || flag.Target.Kind() == reflect.String) {
				continue
			}
			if values[flag.Name], err = format(flag.Target); err != nil {
				return nil, fmt.Errorf("listing options: --%s: %w", flag.Name, err)
			}
		}
	}
	return values, nil
}

// format is the text that a flag's parser turns into v.
func format(v reflect.Value) (string, error) {
	switch x := v.Interface().(type) {
	case Meta:
		b, err := json.Marshal(map[string]string(x))
		return string(b), err
	case time.Duration:
		return x.String(), nil
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		return string(b), err
	}
	if v.Kind() != reflect.Slice {
		return fmt.Sprint(v.Interface()), nil
	}
	parts := make([]string, v.Len())
	for i := range parts {
		var err error
		if parts[i], err = format(v.Index(i)); err != nil {
			return "", err
		}
	}
	return strings.Join(parts, ","), nil
}

// Effective is [Values] for a store's attributes and for status: without the broker's address and
// credentials, and with the passwords of URLs blanked.
func Effective(block any) (map[string]any, error) {
	values, err := Values(block)
	if err != nil {
		return nil, err
	}
	effective := make(map[string]any, len(values))
	for name, value := range values {
		if !strings.HasPrefix(name, "nats") && name != "restarts" {
			effective[name] = value
		}
	}
	if s, ok := values["source"]; ok {
		effective["source"] = camera.Redact(s)
	}
	return effective, nil
}
