package config

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluicedaq/sluice/internal/exit"
)

// Report prints err as one line "NAME: what went wrong" unless there is nothing to say, and returns the exit
// code. It is the last act of every main.
func Report(stderr io.Writer, name string, err error) int {
	if err != nil && !errors.Is(err, ErrPrinted) {
		fmt.Fprintf(stderr, "%s: %s\n", name, strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
	}
	return exit.Code(err)
}
