package config

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// maxFile bounds a configuration file, in bytes.
const maxFile = 1 << 20

// fileValue is one value of a configuration file: a string, []any of strings, or map[string]string.
type fileValue struct {
	value any
	line  int
}

// fileError is an error in a configuration file, with its place.
type fileError struct {
	path string
	line int // 0 where it has none
	err  error
}

// Error is "FILE:LINE: what is wrong".
func (e *fileError) Error() string {
	if e.line == 0 {
		return fmt.Sprintf("--config: %s: %v", e.path, e.err)
	}
	return fmt.Sprintf("--config: %s:%d: %v", e.path, e.line, e.err)
}

// Is makes it an ErrFile.
func (e *fileError) Is(target error) bool { return target == ErrFile }

// Unwrap returns the cause.
func (e *fileError) Unwrap() error { return e.err }

// readFile reads a configuration file: a flat mapping whose keys are the names of flags. A key that belongs to
// another command is allowed, so that one file serves all; a key that belongs to none is refused.
func readFile(path string) (map[string]fileValue, error) {
	fail := func(line int, format string, args ...any) error {
		return &fileError{path: path, line: line, err: fmt.Errorf(format, args...)}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, fail(0, "%w", err)
	}
	if len(b) > maxFile {
		return nil, fail(0, "%d bytes are more than %d", len(b), maxFile)
	}
	doc, err := parser.ParseBytes(b, 0)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) && ye.GetToken() != nil {
			return nil, fail(ye.GetToken().Position.Line, "%s", firstLine(ye.GetMessage()))
		}
		return nil, fail(0, "%s", firstLine(err.Error()))
	}
	known, err := knownKeys()
	if err != nil {
		return nil, err
	}
	values := map[string]fileValue{}
	for i, d := range doc.Docs {
		if d.Body == nil || d.Body.Type() == ast.NullType || d.Body.Type() == ast.CommentType {
			continue
		}
		if i > 0 {
			return nil, fail(d.Body.GetToken().Position.Line, "a second document: want one")
		}
		pairs, err := mapping(d.Body)
		if err != nil {
			return nil, fail(d.Body.GetToken().Position.Line, "%w", err)
		}
		for _, pair := range pairs {
			line := pair.Key.GetToken().Position.Line
			key := pair.Key.GetToken().Value
			if !known[key] {
				return nil, fail(line, "unknown key %q", key)
			}
			v, err := plain(pair.Value)
			if err != nil {
				return nil, fail(line, "%s: %w", key, err)
			}
			if v != nil {
				values[key] = fileValue{value: v, line: line}
			}
		}
	}
	return values, nil
}

// mapping returns the pairs of a mapping.
func mapping(node ast.Node) ([]*ast.MappingValueNode, error) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, nil
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, nil
	}
	return nil, errors.New("want a mapping of options to values")
}

// plain is the value of a node with its scalars as they are spelled, so that 1.10 or 007 stay what they are.
func plain(node ast.Node) (any, error) {
	switch n := node.(type) {
	case *ast.NullNode:
		return nil, nil
	case *ast.StringNode:
		return n.Value, nil
	case *ast.LiteralNode:
		return n.Value.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return node.GetToken().Value, nil
	case *ast.SequenceNode:
		list := make([]any, 0, len(n.Values))
		for _, e := range n.Values {
			s, err := plain(e)
			if err != nil {
				return nil, err
			}
			if _, ok := s.(string); !ok {
				return nil, errors.New("a list may only hold plain values")
			}
			list = append(list, s)
		}
		return list, nil
	case *ast.MappingNode, *ast.MappingValueNode:
		pairs, err := mapping(n)
		if err != nil {
			return nil, err
		}
		m := make(map[string]string, len(pairs))
		for _, pair := range pairs {
			v, err := plain(pair.Value)
			if err != nil {
				return nil, err
			}
			s, ok := v.(string)
			if !ok {
				return nil, errors.New("a mapping may only hold plain values")
			}
			m[pair.Key.GetToken().Value] = s
		}
		return m, nil
	}
	return nil, fmt.Errorf("a value of kind %s is not supported here", strings.ToLower(node.Type().String()))
}

// knownKeys are the names of the flags of all commands that may be set in a file.
func knownKeys() (map[string]bool, error) {
	k, err := kong.New(&file{}, kongOptions()...)
	if err != nil {
		return nil, fmt.Errorf("collecting the known options: %w", err)
	}
	known := map[string]bool{}
	err = kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok && f.Name != "help" && f.Name != "version" && f.Name != "config" {
			known[f.Name] = true
		}
		return next(nil)
	})
	return known, err
}

// firstLine cuts a message that has several lines.
func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
