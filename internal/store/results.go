package store

import (
	"encoding/json"
	"fmt"

	"github.com/sluicedaq/sluice/internal/vfs"
)

// resultsDir has the analysers' results, one file of JSON lines for each kind.
const resultsDir = "analysis"

// The kinds of results.
const (
	Spatial  = "spatial"
	Temporal = "temporal"
)

// AppendResult appends an analyser's result, JSON, to analysis/KIND.jsonl. With sync it is durable on return, else after
// Finish or Close.
func (s *Store) AppendResult(kind string, result []byte, sync bool) error {
	log := s.results[kind]
	if log == nil || !json.Valid(result) {
		return fmt.Errorf("appending a %q result: %w: it is not JSON of a kind that there is", kind, ErrFrame)
	}
	if err := s.fs.Mkdir(s.at.join(resultsDir)); err != nil && !vfs.IsExist(err) {
		return fmt.Errorf("appending a %s result: %w", kind, err)
	}
	if err := log.append(append(oneLine(result), '\n')); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	return log.sync()
}

// newResults makes the results' files, which are there from their first line on.
func newResults(fs vfs.FS, at layout) map[string]*logFile {
	m := map[string]*logFile{}
	for _, kind := range []string{Spatial, Temporal} {
		m[kind] = &logFile{fs: fs, path: at.join(resultsDir, kind+".jsonl")}
	}
	return m
}
