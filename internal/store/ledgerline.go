package store

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sluicedaq/sluice/pkg/frames"
)

// ledgerLine is one range of lost frames in a ledger, a line of JSON. Numbers of nanoseconds and frame ids are
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
}

// A ledger's line ends with the crc32c of what is before the tag, as eight hexadecimal digits.
const (
	lineTag = `,"crc32c":"`
	lineEnd = `"}`
)

// appendLedger appends a line for l to b.
func appendLedger(b []byte, l frames.Loss) ([]byte, error) {
	line, err := json.Marshal(ledgerLine{1, l.Seq, l.Count, l.Reason, l.Stage, l.FirstFrameID, l.LastFrameID, l.FirstNS, l.LastNS})
	if err != nil {
		return b, fmt.Errorf("writing a ledger line for frame %d: %w", l.Seq, err)
	}
	line = line[:len(line)-len("}")]
	return fmt.Appendf(b, "%s%s%08x%s\n", line, lineTag, castagnoli(line), lineEnd), nil
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
		l, ok := parseLedgerLine(line)
		if !whole || !ok {
			torn++
			continue
		}
		ls = append(ls, l)
	}
	return ls, torn
}

func parseLedgerLine(line []byte) (frames.Loss, bool) {
	at := len(line) - len(lineTag) - 8 - len(lineEnd)
	if at < 0 || string(line[at:]) != fmt.Sprintf("%s%08x%s", lineTag, castagnoli(line[:at]), lineEnd) {
		return frames.Loss{}, false
	}
	var e ledgerLine
	if err := json.Unmarshal(line, &e); err != nil || e.V != 1 {
		return frames.Loss{}, false
	}
	l := frames.Loss{
		Seq: e.Seq, Count: e.Count, Reason: e.Reason, Stage: e.Stage,
		FirstFrameID: e.FirstFrameID, LastFrameID: e.LastFrameID, FirstNS: e.FirstNS, LastNS: e.LastNS,
	}
	return l, l.Valid() == nil
}
