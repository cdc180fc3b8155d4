package operator_test

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sluicedaq/sluice/internal/run"
	"github.com/sluicedaq/sluice/internal/store"
	"github.com/sluicedaq/sluice/internal/vfs"
	"github.com/sluicedaq/sluice/pkg/frames"
	"github.com/sluicedaq/sluice/test/programs"
)

// The store that is recovered: eight open shards, each frame filled with its seq.
const (
	openShards  = 8
	openK       = 40
	openCapture = openShards*openK - 3 // the last three are nowhere
)

// cutOff is a store whose writer died with every shard open.
func cutOff(t *testing.T) string {
	t.Helper()
	spec := run.Spec{
		Run: frames.NewRunID(), Camera: "recovered", ShardFrames: openK, Store: "a.ome.zarr", Codec: "none", Started: time.Now(),
		Geometry: frames.Geometry{Height: 128, Width: 128, Channels: 1, Dtype: frames.Uint16},
	}
	path := filepath.Join(t.TempDir(), spec.Store)
	s, err := store.Create(t.Context(), vfs.OS{}, path, spec, store.Options{Writer: "w0"})
	if err != nil {
		t.Fatal(err)
	}
	s.NoteCaptured(openCapture)
	for no := range uint64(openShards) {
		sh, err := s.TakeShard(t.Context(), no, no+1)
		if err != nil {
			t.Fatal(err)
		}
		var fs []store.Frame
		for seq := no * openK; seq < min((no+1)*openK, openCapture-3); seq++ {
			fs = append(fs, store.Frame{Seq: seq, FrameID: seq, Pixels: bytes.Repeat([]byte{byte(seq), byte(seq >> 8)}, 128*128)})
		}
		if err := sh.Commit(t.Context(), fs, nil); err != nil {
			t.Fatal(err)
		}
		if err := sh.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRecoverIsKilled kills real recoveries with SIGKILL at random moments, again and again: the one that is let be
// completes the store.
func TestRecoverIsKilled(t *testing.T) {
	const kills = 20
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	path, done, stores := cutOff(t), 0, 1
	longest := 50 * time.Millisecond
	for done < kills {
		cmd := bin.Command(t.Context(), "sluice", "recover", path)
		start := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(time.Duration(random.Int64N(int64(longest))), func() { _ = cmd.Process.Kill() }) // it may have ended
		_ = cmd.Wait()                                                                                          // how it ended is asked below
		kill.Stop()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		switch {
		case ok && status.Signaled():
			done++
			longest += longest / 8 // later, until some are too late
		case cmd.ProcessState.ExitCode() != 3:
			t.Fatalf("recover ended with %d", cmd.ProcessState.ExitCode())
		default:
			// It was faster than the signal: another store, and signals that come sooner.
			longest = max(time.Millisecond, min(longest, time.Since(start)))
			checkCutOff(t, path)
			path, stores = cutOff(t), stores+1
		}
	}
	if r := recoverCommand(t, path); r.Code != 3 {
		t.Fatalf("the last recovery ended with %d\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
	checkCutOff(t, path)
	t.Logf("%d kills of recoveries of %d stores", done, stores)
}

func recoverCommand(t *testing.T, path string) programs.Result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := bin.Command(t.Context(), "sluice", "recover", path)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return programs.Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}
}

// checkCutOff looks at every frame of the store once it is recovered.
func checkCutOff(t *testing.T, path string) {
	t.Helper()
	r, err := store.Verify(t.Context(), vfs.OS{}, path, store.VerifyOptions{})
	if err != nil || !r.OK || r.Captured != openCapture || r.Written != openCapture-3 || r.LostByReason["host lost"] != 3 {
		t.Fatalf("verify: %+v, %v", r, err)
	}
	rd, err := store.OpenReader(vfs.OS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer rd.Close()
	var got []byte
	for seq := range uint64(openCapture - 3) {
		if got, err = rd.Frame(got[:0], seq); err != nil {
			t.Fatal(err)
		}
		if want := bytes.Repeat([]byte{byte(seq), byte(seq >> 8)}, 128*128); !bytes.Equal(got, want) {
			t.Fatalf("frame %d has other bytes than were written", seq)
		}
	}
}
