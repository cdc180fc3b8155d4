package store_test

import (
	"testing"

	"github.com/sluicedaq/sluice/internal/crc32c"
	"github.com/sluicedaq/sluice/internal/store"
)

// TestKnownChecksum: a checksum that comes with a frame is taken for that of its pixels, so that what changes between the
// camera and the disk is found: here frames 2 and 3, whose pixels are not those that their checksums are of. Of a
// compressed chunk it says nothing.
func TestKnownChecksum(t *testing.T) {
	for name, with := range codecs() {
		t.Run(name, func(t *testing.T) {
			spec := testSpec()
			with(&spec)
			path := storePath(t)
			s := create(t, path, spec, store.Options{})
			sh := take(t, s, 0, 1)
			var fs []store.Frame
			for seq := range spec.ShardFrames {
				f := testFrame(spec, seq, seq%3 != 0)
				f.Checksum = crc32c.Checksum(f.Pixels)
				if seq >= 2 {
					f.Pixels[seq] ^= 1
				}
				fs = append(fs, f)
			}
			if err := sh.Commit(t.Context(), fs, nil); err != nil {
				t.Fatal(err)
			}
			sealTo(t, sh, spec.ShardFrames)
			finish(t, s, spec.ShardFrames)
			wrong := uint64(0)
			if spec.Codec == "none" {
				wrong = 2
			}
			r := verify(t, path)
			if r.OK != (wrong == 0) || r.Corrupt != wrong || r.Written != spec.ShardFrames-wrong {
				t.Errorf("%d frames are as they were written and %d are not, want %d that are not", r.Written, r.Corrupt, wrong)
			}
			for _, b := range r.Bad {
				if b.Seq < 2 {
					t.Errorf("not as it was written: %+v", b)
				}
			}
		})
	}
}
