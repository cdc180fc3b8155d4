// Command testcount runs `go test -count=1 -json` with its arguments. It prints a line for each package, what
// failed with all of its output, and how many tests passed, failed and were skipped. It ends with 1 unless all
// passed: a skipped test is a failure too, since nobody would notice it otherwise.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := report(out, os.Stdout); err != nil {
		_ = cmd.Wait() // it has failed too, and says less
		return err
	}
	return cmd.Wait()
}

// event is a line of `go test -json`: see `go doc test2json`.
type event struct {
	Action      string
	Package     string
	ImportPath  string
	Test        string
	Elapsed     float64
	Output      string
	FailedBuild string
}

func report(r io.Reader, w io.Writer) error {
	var passed, failed, skipped, packages int
	output := map[string]*strings.Builder{}
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		var e event
		if json.Unmarshal(line, &e) != nil { // the go command itself complains in plain text
			fmt.Fprint(w, string(line))
			continue
		}
		key := e.Package + e.ImportPath + " " + e.Test
		if output[key] == nil {
			output[key] = &strings.Builder{}
		}
		switch e.Action {
		case "output", "build-output":
			output[key].WriteString(e.Output)
		case "build-fail":
			fmt.Fprint(w, output[key])
		case "pass", "fail", "skip":
			if e.Action == "fail" || e.Test != "" && e.Action == "skip" {
				fmt.Fprint(w, output[key])
			}
			delete(output, key)
			if e.Test == "" && e.Action == "fail" {
				unended(w, output, e.Package)
			}
			switch {
			case e.Test == "" && e.Action == "skip": // a package without tests
			case e.Test == "":
				packages++
				fmt.Fprintf(w, "%-4s  %6.1f s  %s\n", e.Action, e.Elapsed, e.Package)
			case e.Action == "pass":
				passed++
			case e.Action == "fail":
				failed++
			default:
				skipped++
			}
		}
	}
	fmt.Fprintf(w, "\n%d tests in %d packages passed, %d failed, %d skipped\n", passed, packages, failed, skipped)
	switch {
	case failed+skipped > 0:
		return errors.New("not every test passed")
	case passed == 0:
		return errors.New("no test ran")
	}
	return nil
}

// unended prints what the tests of a failed package have said that were not over: where one hangs, it is the stacks.
func unended(w io.Writer, output map[string]*strings.Builder, pkg string) {
	var keys []string
	for key := range output {
		if strings.HasPrefix(key, pkg+" ") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		fmt.Fprint(w, output[key])
		delete(output, key)
	}
}
