package config

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicedaq/sluice/internal/exit"
)

// parse fills an Acquire from args, environment and an optional file's text (which is named by FILE in args).
func parse(t *testing.T, cli any, env map[string]string, yaml string, args ...string) (string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "run.yaml")
	if err := os.WriteFile(path, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "FILE", path)
	}
	var out bytes.Buffer
	_, err := Parse(Program{
		Name: "acquire", CLI: cli, Args: args, Stdout: &out,
		Getenv: func(k string) string { return strings.ReplaceAll(env[k], "FILE", path) },
	})
	if err != nil {
		err = &exit.Error{Code: exit.Code(err), Err: errors.New(strings.ReplaceAll(err.Error(), path, "FILE"))}
	}
	return out.String(), err
}

func TestPrecedence(t *testing.T) {
	const yaml = "frames: 1\nbudget: 1MiB\non-full: drop\nmeta: {who: me, run: 007}\nrequire: [writer=2, analyze]\nwriters: 3\n"
	var got Acquire
	_, err := parse(t, &got, map[string]string{"SLUICE_FRAMES": "2", "SLUICE_BUDGET": "2MiB"}, yaml,
		"--config=FILE", "--frames=3", "--pixel-size=650nm", "--meta=a=b;c,d", "--compress=zstd:9")
	if err != nil {
		t.Fatal(err)
	}
	want := Capture{
		Frames: 3, Budget: 2 << 20, OnFull: OnFullDrop, PixelSize: 0.65, Meta: Meta{"a": "b;c,d"},
		Compress: Compress{"zstd", 9}, Require: []Requirement{{"writer", 2}, {"analyze", 1}},
		AnalyzePolicy: "latest", ReclaimAfter: 2 * time.Second, MemberTimeout: 10 * time.Second,
		DrainTimeout: time.Minute,
	}
	if d := cmp.Diff(want, got.Capture); d != "" {
		t.Errorf("capture (-want +got):\n%s", d)
	}
	if got.Camera.Camera != "cam0" || got.ConnectTimeout != 10*time.Second || got.HungAfter != 5*time.Second {
		t.Errorf("defaults: %+v", got)
	}
	var file Acquire
	if _, err := parse(t, &file, map[string]string{"SLUICE_CONFIG": "FILE"}, yaml); err != nil {
		t.Fatal(err)
	}
	if file.Frames != 1 || file.Meta["run"] != "007" || file.Meta["who"] != "me" {
		t.Errorf("from the file alone: %+v", file.Capture)
	}
}

func TestBadInputIsOneLine(t *testing.T) {
	for _, c := range []struct {
		name, yaml, want string
		env              map[string]string
		args             []string
	}{
		{name: "unknown flag", args: []string{"--framse=3"}, want: `unknown flag --framse, did you mean "--frames"?`},
		{name: "stray argument", args: []string{"go"}, want: `unexpected argument go`},
		{name: "size without sense", args: []string{"--budget=12parsecs"}, want: `--budget: "12parsecs" is not a size: want a number of bytes, such as 256MiB, 1GB or 4096`},
		{name: "size zero", args: []string{"--budget=0"}, want: `--budget: the size "0" is zero: it must be more`},
		{name: "size negative", args: []string{"--budget=-1MiB"}, want: `--budget: "-1MiB" is not a size: want a number of bytes, such as 256MiB, 1GB or 4096`},
		{name: "frames zero", args: []string{"--frames=0"}, want: `--frames: "0" is not a whole number of at least 1`},
		{name: "frames negative", args: []string{"--frames=-3"}, want: `--frames: "-3" is not a whole number of at least 1`},
		{name: "time without unit", args: []string{"--duration=10"}, want: `--duration: "10" is not a time: want a number and a unit, such as 2s, 500ms or 1h`},
		{name: "time zero", args: []string{"--duration=0s"}, want: `--duration: the time "0s" must be more than zero`},
		{name: "both ends", args: []string{"--frames=3", "--duration=1s"}, want: `--frames and --duration can't be used together`},
		{name: "camera with a dot", args: []string{"--camera=a.b"}, want: `--camera: "a.b" is not a name: want 1 to 32 of a-z 0-9 _ -, beginning with a letter or digit`},
		{name: "camera wildcard", args: []string{"--camera=>"}, want: `--camera: ">" is not a name: want 1 to 32 of a-z 0-9 _ -, beginning with a letter or digit`},
		{name: "policy", args: []string{"--on-full=panic"}, want: `--on-full: "panic" is none of pause, drop, fail`},
		{name: "codec", args: []string{"--compress=lz4"}, want: `--compress: "lz4" is none of none, zstd, zstd:LEVEL, blosc-zstd and blosc-zstd:LEVEL`},
		{name: "codec without levels", args: []string{"--compress=none:1"}, want: `--compress: "none:1" is none of none, zstd, zstd:LEVEL, blosc-zstd and blosc-zstd:LEVEL`},
		{name: "level of blosc-zstd", args: []string{"--compress=blosc-zstd:10"}, want: `--compress: blosc-zstd level "10" is not 1 to 9`},
		{name: "codec level", args: []string{"--compress=zstd:0"}, want: `--compress: zstd level "0" is not 1 to 22`},
		{name: "length", args: []string{"--pixel-size=0.65"}, want: `--pixel-size: "0.65" is not a length: want a number and one of nm, um, mm, such as 0.65um`},
		{name: "metadata", args: []string{"--meta=x"}, want: `--meta: "x" is not key=value`},
		{name: "group", args: []string{"--require=printer"}, want: `--require: "printer": there is no group "printer", only writer and analyze`},
		{name: "heartbeat", args: []string{"--heartbeat=4s"}, want: `--hung-after: 5s is less than two heartbeats of 4s`},
		{name: "store path", args: []string{"--store=../x.zarr"}, want: `--store: "../x.zarr" must be a plain folder name`},
		{name: "from the environment", env: map[string]string{"SLUICE_BUDGET": "x"}, want: `--budget: "x" is not a size: want a number of bytes, such as 256MiB, 1GB or 4096 (from SLUICE_BUDGET)`},
		{name: "from the file", args: []string{"--config=FILE"}, yaml: "camera: c\n\nbudget: x\n", want: `--budget: "x" is not a size: want a number of bytes, such as 256MiB, 1GB or 4096 (from FILE:3)`},
		{name: "unknown key", args: []string{"--config=FILE"}, yaml: "camera: c\nbudgte: 3\n", want: `--config: FILE:2: unknown key "budgte"`},
		{name: "unknown variable", env: map[string]string{"SLUICE_BUGDET": "1GiB"}, want: `there is no option for the variable SLUICE_BUGDET`},
		{name: "key twice", args: []string{"--config=FILE"}, yaml: "camera: c\ncamera: d\n", want: `--config: FILE:2: mapping key "camera" already defined at [1:1]`},
		{name: "not a mapping", args: []string{"--config=FILE"}, yaml: "- 1\n", want: `--config: FILE:1: want a mapping of options to values`},
		{name: "not yaml", args: []string{"--config=FILE"}, yaml: "a: [\n", want: `--config: FILE:1: sequence end token ']' not found`},
		{name: "nested", args: []string{"--config=FILE"}, yaml: "meta: {a: {b: c}}\n", want: `--config: FILE:1: meta: a mapping may only hold plain values`},
		{name: "no file", args: []string{"--config=/nowhere.yaml"}, want: `--config: /nowhere.yaml: no such file or directory`},
	} {
		t.Run(c.name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			_, err := parse(t, &Acquire{}, c.env, c.yaml, c.args...)
			if err == nil || err.Error() != c.want {
				t.Fatalf("error %v\nwant  %s", err, c.want)
			}
			if exit.Code(err) != exit.Usage {
				t.Errorf("exit code %d", exit.Code(err))
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	out, err := parse(t, &Acquire{}, nil, "", "--help")
	if exit.Code(err) != 0 || err == nil {
		t.Errorf("help: %v", err)
	}
	for _, want := range []string{"--budget=SIZE", "SLUICE_BUDGET", "(cam0)", "--config=FILE.yaml"} {
		if !strings.Contains(out, want) {
			t.Errorf("the help lacks %q:\n%s", want, out)
		}
	}
	out, err = parse(t, &Acquire{}, nil, "", "--version")
	if exit.Code(err) != 0 || !strings.HasPrefix(out, "sluice v") || strings.Count(out, "\n") != 1 {
		t.Errorf("version: %q, %v", out, err)
	}
}

func TestRequiredOptions(t *testing.T) {
	for want, cli := range map[string]any{
		"--out: the folder for the stores is missing":                &Writer{},
		"--source: where the frames come from is missing":            &Run{},
		"--segment: 2 frames are not an even number from 16 to 8192": &Analyze{},
		"--writers: want 1 to 64":                                    &Run{},
		`unknown flag --frames`:                                      &Analyze{},
		`--analyze-policy: "newest" is none of latest, lossl`:        &Run{},
	} {
		args := map[string][]string{
			"--segment: 2 frames are not an even number from 16 to 8192": {"--segment=2"},
			"--writers: want 1 to 64":                                    {"--source=x", "--out=.", "--writers=0"},
			`unknown flag --frames`:                                      {"--frames=1"},
			`--analyze-policy: "newest" is none of latest, lossl`:        {"--analyze-policy=newest"},
		}[want]
		if _, err := parse(t, cli, nil, "", args...); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

func TestEnvRoundTrip(t *testing.T) {
	var given Run
	if _, err := parse(t, &given, nil, "", "--source=video:rtsp://u:p@h/x?a=1,2", "--out=/data", "--frames=10", "--budget=1536MiB",
		"--meta=a=b", "--meta=c=d=e,f;g", "--require=writer=2,analyze", "--no-preview", "--analyzers=0", "--tiles=2x3", "--pixel-size=1mm"); err != nil {
		t.Fatal(err)
	}
	env, err := Env(&given)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		vars[k] = v
	}
	var again Run
	if _, err := parse(t, &again, vars, ""); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(given, again); d != "" {
		t.Errorf("after the environment (-given +got):\n%s", d)
	}
	effective, err := Effective(&given)
	if err != nil {
		t.Fatal(err)
	}
	if effective["source"] != "video:rtsp://u:xxxxx@h/x?a=1,2" || effective["budget"] != "1536MiB" || effective["preview"] != "false" {
		t.Errorf("effective: %v", effective)
	}
	if got := WithoutOptions([]string{"A=b", "SLUICE_FRAMES=3"}); !cmp.Equal(got, []string{"A=b"}) {
		t.Errorf("without options: %v", got)
	}
}

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if code := Report(&out, "sluice", exit.Errorf(exit.Usage, "one\ntwo")); code != 2 || out.String() != "sluice: one; two\n" {
		t.Errorf("%d, %q", code, out.String())
	}
	out.Reset()
	if code := Report(&out, "sluice", &exit.Error{Code: 0, Err: ErrPrinted}); code != 0 || out.Len() != 0 {
		t.Errorf("%d, %q", code, out.String())
	}
}
