package store

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/sluicedaq/sluice/pkg/frames"
)

func testHeader() journalHeader {
	return journalHeader{Run: frames.RunID{1, 2, 3}, Shard: 2, Epoch: 7, ShardFrames: 4, FrameBytes: 286}
}

func testRecords() []record {
	return []record{
		{Seq: 8, FrameID: 1 << 63, DeviceNS: -5, HostNS: 1 << 62, Offset: 0, Size: 286, CRC: 0xdeadbeef},
		{Seq: 11, FrameID: 3, DeviceNS: 4, HostNS: 5, Offset: 4096, Size: 286, CRC: 1},
	}
}

func testJournal() []byte {
	b := encodeHeader(testHeader())
	for _, r := range testRecords() {
		b = appendRecord(b, r)
	}
	return append(appendCaptured(b, 12), make([]byte, 3*journalUnit)...)
}

func TestJournalRoundTrip(t *testing.T) {
	j, err := decodeJournal(testJournal(), testHeader())
	if err != nil {
		t.Fatal(err)
	}
	if j.journalHeader != testHeader() || !slices.Equal(j.Records, testRecords()) || j.Captured != 12 {
		t.Errorf("got %+v", j)
	}
	if n := len(appendRecord(encodeHeader(testHeader()), record{})); n != 2*journalUnit {
		t.Errorf("a header and a record have %d bytes", n)
	}
}

func TestJournalIgnoresStrangers(t *testing.T) {
	b := testJournal()[:2*journalUnit]
	b = appendRecord(b, record{Seq: 12}) // another shard's
	b = appendRecord(b, record{Seq: 7})
	b = appendRecord(b, record{Seq: 8, CRC: 99}) // again
	b = appendRecord(b, record{Seq: 9})
	j, err := decodeJournal(b, testHeader())
	if err != nil || len(j.Records) != 3 || j.Records[0] != testRecords()[0] || j.Records[1].CRC != 99 || j.Records[2].Seq != 9 || j.end != int64(len(b)) {
		t.Errorf("got %+v, %v", j.Records, err)
	}
}

// TestJournalPrefixes cuts a journal everywhere: what is read is what was there whole.
func TestJournalPrefixes(t *testing.T) {
	whole := testJournal()
	for n := range whole {
		j, err := decodeJournal(whole[:n], testHeader())
		if n < journalUnit {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%d bytes: %v, want ErrCorrupt", n, err)
			}
			continue
		}
		if want := min((n-journalUnit)/journalUnit, 2); err != nil || len(j.Records) != want {
			t.Fatalf("%d bytes: %d records, %v: want %d", n, len(j.Records), err, want)
		}
	}
}

func FuzzJournal(f *testing.F) {
	f.Add(testJournal())
	f.Add(testJournal()[:100])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		j, err := decodeJournal(b, testHeader())
		if err != nil {
			if !errors.Is(err, ErrCorrupt) || len(j.Records) > 0 {
				t.Fatalf("%v with %d records", err, len(j.Records))
			}
			return
		}
		// What was read can be written and read again.
		again := encodeHeader(j.journalHeader)
		for _, r := range j.Records {
			if r.Seq/j.ShardFrames != j.Shard {
				t.Fatalf("frame %d in a journal of shard %d", r.Seq, j.Shard)
			}
			again = appendRecord(again, r)
		}
		k, err := decodeJournal(appendCaptured(again, j.Captured), testHeader())
		if err != nil || k.journalHeader != j.journalHeader || !slices.Equal(k.Records, j.Records) || k.Captured != j.Captured {
			t.Fatalf("%+v came back as %+v, %v", j, k, err)
		}
	})
}

func FuzzLedger(f *testing.F) {
	l := frames.Loss{Seq: 5, Count: 3, FirstFrameID: 1 << 63, LastFrameID: 1<<63 + 2, FirstNS: 1 << 60, LastNS: -1, Reason: frames.Missed, Stage: frames.AtCamera}
	line, err := appendLedger(nil, l)
	if err != nil {
		f.Fatal(err)
	}
	more, err := appendLedger(nil, l, frames.Loss{Seq: 10, Count: 1, FirstFrameID: 1<<63 + 5, LastFrameID: 1<<63 + 5, LastNS: 1 << 60, Reason: frames.Missed, Stage: frames.AtCamera})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(more)
	f.Add(line)
	f.Add(line[:len(line)-4])
	f.Add(append(append([]byte(`{"v":1,"seq"`), '\n'), line...))
	f.Add([]byte("{\"v\":1,\"seq\":0,\"count\":18446744073709551615,\"reason\":\"durable\",\"stage\":\"host\"}\n\n\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ls, torn := parseLedger(b)
		if n := bytes.Count(b, []byte{'\n'}) + 1; len(ls) > n*(1+maxMore) || torn > n {
			t.Fatalf("%d entries and %d torn lines in %d lines", len(ls), torn, n)
		}
		var again []byte
		for _, l := range ls {
			if err := l.Valid(); err != nil {
				t.Fatal(err)
			}
			if again, err = appendLedger(again, l); err != nil {
				t.Fatal(err)
			}
		}
		if back, torn := parseLedger(again); torn > 0 || !slices.Equal(back, ls) {
			t.Fatalf("%v came back as %v", ls, back)
		}
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(encodeIndex([]span{{0, 10}, {noChunk, noChunk}, {4096, 20}}), int64(5000))
	f.Add(encodeIndex(nil), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		spans, err := decodeIndex(b, max(size, 0))
		if err != nil {
			return
		}
		for _, s := range spans {
			if !s.empty() && s.offset+s.size > uint64(max(size, 0)) {
				t.Fatalf("span %+v in %d bytes", s, size)
			}
		}
		if !bytes.Equal(encodeIndex(spans), b) {
			t.Fatal("the index comes back as another")
		}
	})
}

func TestParseWorkName(t *testing.T) {
	for name, want := range map[string]workFile{
		workName(3, 4, dataKind):                    {shard: 3, epoch: 4, kind: "data"},
		workName(3, 4, journalKind) + fencedEnd:     {shard: 3, epoch: 4, kind: "journal", fenced: true},
		workName(3, 18446744073709551615, colState): {shard: 3, epoch: 18446744073709551615, kind: "state"},
	} {
		want.name = name
		if got, ok := parseWorkName(name); !ok || got != want {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
	for _, name := range []string{"lock", "zarr.json", "1.2", "x.1.data", "1.-2.data", "1.2."} {
		if _, ok := parseWorkName(name); ok {
			t.Errorf("%q was taken for a shard's file", name)
		}
	}
}

func TestClip(t *testing.T) {
	l := frames.Loss{Seq: 10, Count: 10, FirstFrameID: 110, LastFrameID: 119, Reason: frames.Paused, Stage: frames.AtAcquire}
	for _, c := range []struct {
		first, end, seq, count uint64
		ok                     bool
	}{{0, 10, 0, 0, false}, {20, 30, 0, 0, false}, {0, 30, 10, 10, true}, {12, 15, 12, 3, true}, {5, 11, 10, 1, true}} {
		got, ok := clip(l, c.first, c.end)
		if ok != c.ok || ok && (got.Seq != c.seq || got.Count != c.count || got.FirstFrameID != c.seq+100) {
			t.Errorf("clip to [%d, %d): %+v, %t", c.first, c.end, got, ok)
		}
	}
}
