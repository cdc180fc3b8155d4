package main

import (
	"bytes"
	"fmt"
	"strings"
)

// text is a file in the making.
type text struct{ bytes.Buffer }

func (t *text) line(format string, args ...any) { fmt.Fprintf(t, format+"\n", args...) }

// op writes an instruction of Go's assembler: the destination is the last operand.
func (t *text) op(name string, operands ...string) {
	t.line("\t%s %s", name, strings.Join(operands, ", "))
}

func (t *text) label(name string) { t.line("%s:", name) }
