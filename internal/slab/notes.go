package slab

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
)

// Notes are what a summary says in words. Two copies of them lie in the file, a page each, and a change goes into the
// older one: number 8, length 4, crc32c of number, length and text 4, then the text, a JSON array of strings.
const noteTextAt = 16

func (s *Slab) note(i int) []byte {
	at := PageSize + specSize + i*PageSize
	return s.mem[at : at+PageSize]
}

// SetWarnings keeps a run's warnings. Of more than there is room for the first ones are kept.
func (s *Slab) SetWarnings(warnings []string) error {
	var text []byte
	for n := len(warnings); ; n-- {
		b, err := json.Marshal(warnings[:n])
		if err != nil {
			return fmt.Errorf("keep the run's warnings: %w", err)
		}
		if len(b) <= PageSize-noteTextAt {
			text = b
			break
		}
	}
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	_, number := s.newestNote()
	number++
	b := s.note(int(number % 2))
	binary.LittleEndian.PutUint32(b[12:], 0)
	binary.LittleEndian.PutUint64(b, number)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(text)))
	copy(b[noteTextAt:], text)
	binary.LittleEndian.PutUint32(b[12:], noteCRC(b, len(text)))
	return nil
}

// Warnings are those that SetWarnings kept, in this process or one before it. Damaged ones are none.
func (s *Slab) Warnings() []string {
	s.stateMu.Lock()
	defer s.stateMu.Unlock()
	warnings, _ := s.newestNote()
	return warnings
}

// newestNote is the newest sound copy. The caller holds stateMu.
func (s *Slab) newestNote() (warnings []string, number uint64) {
	for i := range 2 {
		if list, n, ok := parseNote(s.note(i)); ok && n > number {
			warnings, number = list, n
		}
	}
	return warnings, number
}

// parseNote reads one copy, a page.
func parseNote(b []byte) (warnings []string, number uint64, ok bool) {
	n := binary.LittleEndian.Uint32(b[8:])
	if n > PageSize-noteTextAt || noteCRC(b, int(n)) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, 0, false
	}
	if err := json.Unmarshal(b[noteTextAt:noteTextAt+n], &warnings); err != nil {
		return nil, 0, false
	}
	return warnings, binary.LittleEndian.Uint64(b), true
}

func noteCRC(b []byte, n int) uint32 {
	return crc32.Update(crc32.Checksum(b[:12], castagnoli), castagnoli, b[noteTextAt:noteTextAt+n])
}
