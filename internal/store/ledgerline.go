package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// ledgerLine is lost frames in a ledger, a line of JSON: one range (V is 1), or several that have the way of their loss in
// common and whose frame ids are in step with seq (V is 2). Numbers of nanoseconds and frame ids are
// strings, because they exceed what JSON's readers hold.
type ledgerLine struct {
	V            int          `json:"v"`
	Seq          uint64       `json:"seq"`
	Count        uint64       `json:"count"`
	Reason       frames.State `json:"reason"`
	Stage        frames.Stage `json:"stage"`
	FirstFrameID uint64       `json:"first_frame_id,string"`
	LastFrameID  uint64       `json:"last_frame_id,string"`
	FirstNS      int64        `json:"first_ns,string"`
	LastNS       int64        `json:"last_ns,string"`
	// More has a pair of numbers for each range after the first: how many frames are between it and the one before, and
	// how many it has. Count and LastFrameID are the first range's, the times those of the first and the last frame.
	More []uint64 `json:"more,omitempty"`
}

// maxMore bounds the ranges of a line.
const maxMore = 2048

// A ledger's line ends with the crc32c of what is before the tag, as eight hexadecimal digits.
const (
	lineTag = `,"crc32c":"`
	lineEnd = `"}`
)

// appendLedger appends lines for losses, which are in order, to b.
func appendLedger(b []byte, losses ...frames.Loss) ([]byte, error) {
	for len(losses) > 0 {
		n := 1
		for n < len(losses) && n < maxMore && inStep(losses[0], losses[n-1], losses[n]) {
			n++
		}
		var err error
		if b, err = appendLine(b, losses[:n]); err != nil {
			return b, err
		}
		losses = losses[n:]
	}
	return b, nil
}

// inStep reports whether l can stand in a line that begins with first and has prev before it.
func inStep(first, prev, l frames.Loss) bool {
	step := func(l frames.Loss) bool { return l.LastFrameID-l.FirstFrameID == l.Count-1 }
	return l.Seq > prev.End() && l.Reason == first.Reason && l.Stage == first.Stage && step(first) && step(l) &&
		l.FirstFrameID-first.FirstFrameID == l.Seq-first.Seq
}

// appendLine appends one line.
func appendLine(b []byte, ls []frames.Loss) ([]byte, error) {
	l, last := ls[0], ls[len(ls)-1]
	e := ledgerLine{1, l.Seq, l.Count, l.Reason, l.Stage, l.FirstFrameID, l.LastFrameID, l.FirstNS, last.LastNS, nil}
	for i, more := range ls[1:] {
		e.V, e.More = 2, append(e.More, more.Seq-ls[i].End(), more.Count)
	}
	line, err := json.Marshal(e)
	if err != nil {
		return b, fmt.Errorf("writing a ledger line for frame %d: %w", l.Seq, err)
	}
	return append(b, signed(line[:len(line)-len("}")])...), nil
}

// signed ends a line that has no end with its checksum.
func signed(line []byte) []byte {
	return fmt.Appendf(nil, "%s%s%08x%s\n", line, lineTag, castagnoli(line), lineEnd)
}

// parseLedger reads a ledger. Lines that are no entry are counted and left out: a writer that died may have
// left a torn one, in the middle too where it was started again, and nobody was told that it is durable.
func parseLedger(b []byte) (ls []frames.Loss, torn int) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		b = rest
		if len(line) == 0 {
			continue
		}
		more, ok := parseLedgerLine(line)
		if !whole || !ok {
			torn++
			continue
		}
		ls = append(ls, more...)
	}
	return ls, torn
}

func parseLedgerLine(line []byte) ([]frames.Loss, bool) {
	at := len(line) - len(lineTag) - 8 - len(lineEnd)
	if at < 0 || string(line[at:]) != fmt.Sprintf("%s%08x%s", lineTag, castagnoli(line[:at]), lineEnd) {
		return nil, false
	}
	var e ledgerLine
	err := json.Unmarshal(line, &e)
	if single := e.V == 1 && len(e.More) == 0; err != nil || !single && (e.V != 2 || len(e.More)%2 != 0 || len(e.More) > 2*maxMore) {
		return nil, false
	}
	l := frames.Loss{
		Seq: e.Seq, Count: e.Count, Reason: e.Reason, Stage: e.Stage,
		FirstFrameID: e.FirstFrameID, LastFrameID: e.LastFrameID, FirstNS: e.FirstNS, LastNS: e.LastNS,
	}
	ls := []frames.Loss{l}
	for i := 0; i < len(e.More); i += 2 {
		end := l.End()
		l.Seq, l.Count = end+e.More[i], e.More[i+1]
		l.FirstFrameID = e.FirstFrameID + (l.Seq - e.Seq)
		l.LastFrameID = l.FirstFrameID + l.Count - 1
		if l.Seq <= end {
			return nil, false
		}
		ls = append(ls, l)
	}
	for _, l := range ls {
		if l.Valid() != nil {
			return nil, false
		}
	}
	return ls, true
}
