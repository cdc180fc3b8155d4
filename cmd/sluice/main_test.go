package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluicedaq/sluice/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sluice runs the command in this process and returns its exit code, stdout and stderr as main would make them.
func sluice(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	env := map[string]string{"XDG_RUNTIME_DIR": t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out, errs bytes.Buffer
	err := run(ctx, nil, args, func(k string) string { return env[k] }, &out, &errs)
	code = config.Report(&errs, "sluice", err)
	return code, out.String(), errs.String()
}

func TestBadUsageIsOneLine(t *testing.T) {
	exists := filepath.Join(t.TempDir(), "x.zarr")
	if err := os.Mkdir(exists, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		`expected one of "run", "verify", "recover", "ctl", "monitor", ...`: {},
		`unexpected argument record`:                                        {"record"},
		`unknown flag --framse, did you mean "--frames"?`:                   {"run", "--framse=3"},
		`run: --source: where the frames come from is missing`:              {"run", "--out=."},
		`run: --out: the folder for the store is missing`:                   {"run", "--source=sim:"},
		`run: --writers: want 1 to 64`:                                      {"run", "--source=sim:", "--out=.", "--writers=0"},
		`--budget: the size "0MiB" is zero: it must be more`:                {"run", "--source=sim:", "--out=.", "--budget=0MiB"},
		`--camera: "a.*" is not a name`:                                     {"run", "--source=sim:", "--out=.", "--camera=a.*"},
		`--out: the store ` + exists + ` exists already`:                    {"run", "--source=sim:", "--out=" + exists},
		`--out: ` + file + ` is not a folder`:                               {"run", "--source=sim:", "--out=" + file},
		`--out: mkdir /no/such/folder: no such file or directory`:           {"run", "--source=sim:", "--out=/no/such/folder"},
		`--store y.zarr and --out ` + exists + `2.zarr name two stores`:     {"run", "--source=sim:", "--store=y.zarr", "--out=" + exists + "2.zarr"},
		`<camera>: "A" is not a name`:                                       {"ctl", "A", "status"},
		`<verb> must be one of "arm"`:                                       {"ctl", "cam0", "launch"},
		`ctl: --hard goes with stop`:                                        {"ctl", "cam0", "arm", "--hard"},
		`--request: bad request: unknown field "framse"`:                    {"ctl", "cam0", "arm", `--request={"framse":1}`},
		`no local run of camera cam7 on this machine: give --nats URL`:      {"ctl", "cam7", "status"},
		`no local run on this machine: give --nats URL to look elsewhere`:   {"monitor", "--once"},
		`/no/such/store is no folder`:                                       {"verify", "/no/such/store"},
		`/no/such/recovery is no folder`:                                    {"recover", "/no/such/recovery"},
		`NATS: "nats://:x" is not a server's URL: want nats://HOST:PORT`:    {"monitor", "--nats=nats://:x"},
		`slabs: --force goes with --rm`:                                     {"slabs", "--force"},
	} {
		code, stdout, stderr := sluice(t, args...)
		if code != 2 || stdout != "" || !strings.HasPrefix(stderr, "sluice: "+want) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: code %d, stdout %q, stderr %q\nwant %s", args, code, stdout, stderr, want)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	code, _, stderr := sluice(t, "run", "--source=sim:", "--out="+t.TempDir(), "--nats=nats://127.0.0.1:1", "--connect-timeout=200ms")
	if code != 2 || !strings.HasPrefix(stderr, "sluice: NATS at nats://127.0.0.1:1: nobody answers after") || strings.Count(stderr, "\n") != 1 {
		t.Errorf("code %d, stderr %q", code, stderr)
	}
}

func TestDoctor(t *testing.T) {
	code, stdout, stderr := sluice(t, "doctor", "--out="+t.TempDir())
	// The test binary has no acquire beside it.
	if code != 1 || stderr != "sluice: 1 checks failed\n" {
		t.Errorf("code %d, %q", code, stderr)
	}
	for _, want := range []string{"fail  programs", "ok    runtime folder", "ok    NATS", "shared memory   /dev/shm: "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestChecks(t *testing.T) {
	governor := filepath.Join(t.TempDir(), "governor")
	if err := os.WriteFile(governor, []byte("powersave\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]finding{
		"fail": checkShm(t.TempDir() + "/none"), "fail ": checkDisk("/none"), "fail  ": checkDirect("/none"),
		"warn": checkGovernor(governor), "ok": checkGovernor("/none"), "ok ": checkRuntimeDir(func(string) string { return t.TempDir() }),
	} {
		if got.Verdict != strings.TrimSpace(want) {
			t.Errorf("%+v, want %s", got, want)
		}
	}
	if f := checkDirect("/dev/shm"); f.Verdict == fails {
		t.Errorf("%+v", f)
	}
	for n, want := range map[int64]string{10: fit, 5: warns, 4: fails} {
		if got := grade(n, 10, 5); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"/a/b-c.zarr": "/a/b-c.zarr", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$x": "'$x'"} {
		if got := quote(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}
