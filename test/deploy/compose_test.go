package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sluicedaq/sluice/internal/config"
)

// service is what docker-compose.yml says of one.
type service struct {
	Image       string
	User        string
	Command     []string
	Environment map[string]string
	Profiles    []string
	DependsOn   []string `yaml:"depends_on"`
	Volumes     []string
	Tmpfs       []string
	Ports       []string
	Scale       int
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	MemLimit    string   `yaml:"mem_limit"`
	Grace       string   `yaml:"stop_grace_period"`
	Privileged  bool
	Build       *struct {
		Dockerfile, Target string
	}
	Healthcheck *struct {
		Test    []string
		Timeout string
	}
	Logging *struct {
		Driver  string
		Options map[string]string
	}
}

type stack struct {
	Services map[string]service
	Volumes  map[string]*struct {
		Options map[string]string `yaml:"driver_opts"`
	}
}

// variable is ${NAME:-default}, as docker-compose.yml has them.
var variable = regexp.MustCompile(`\$\{([A-Z_]+):-([^}]*)\}`)

// compose reads docker-compose.yml with the variables that are given, and the defaults of the others.
func compose(t *testing.T, env map[string]string) stack {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	text = variable.ReplaceAllFunc(text, func(b []byte) []byte {
		m := variable.FindSubmatch(b)
		if v, given := env[string(m[1])]; given {
			return []byte(v)
		}
		return m[2]
	})
	var s stack
	// What is merged in may be said anew, which this package takes for a key that stands there twice.
	if err := yaml.UnmarshalWithOptions(text, &s, yaml.AllowDuplicateMapKey()); err != nil {
		t.Fatal(err)
	}
	return s
}

// dotenv reads a file of NAME=VALUE lines.
func dotenv(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			values[name] = value
		}
	}
	return values
}

// bytesOf reads Docker's sizes, as 704m, and ours, as 512MiB.
func bytesOf(t *testing.T, text string) int64 {
	t.Helper()
	if n, ok := strings.CutSuffix(text, "m"); ok {
		text = n + "MiB"
	}
	var size config.ByteSize
	if err := size.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return int64(size)
}

// TestComposeCommands: every command is one that its program takes, as who it is.
func TestComposeCommands(t *testing.T) {
	s := compose(t, nil)
	for name, want := range map[string]string{"acquire": "acquire", "acquire-opencv": "acquire", "writer": "writer", "analyze": "analyze"} {
		c := s.Services[name]
		if len(c.Command) == 0 || c.Command[0] != want {
			t.Fatalf("%s runs %q", name, c.Command)
		}
		args := slices.Clone(c.Command[1:])
		for i, a := range args {
			if a == "/etc/sluice/sluice.yaml" {
				args[i] = filepath.Join(root, "deploy", "sluice.yaml")
			}
		}
		cli := parse(t, want, args, c.Environment)
		if c.Environment["SLUICE_NATS"] == "" || c.Environment["SLUICE_NATS_USER"] != want || c.Environment["SLUICE_METRICS"] == "" {
			t.Errorf("%s does not know its broker, is not who it is, or shows no numbers: %v", name, c.Environment)
		}
		if slices.Contains(args, "--name") {
			t.Errorf("%s can't be scaled: all of its containers have one name", name)
		}
		a, ok := cli.(*config.Acquire)
		if !ok {
			continue
		}
		if !a.Start || a.Progress == 0 {
			t.Errorf("%s does not begin a run, or says nothing of it", name)
		}
		for _, r := range a.Require {
			if have := s.Services[r.Group].Scale; have < r.Members {
				t.Errorf("%s asks for %d of %s, the stack has %d", name, r.Members, r.Group, have)
			}
		}
		// Members come before it and go after it.
		if !slices.Contains(c.DependsOn, "writer") || !slices.Contains(c.DependsOn, "analyze") || !slices.Contains(c.DependsOn, "nats") {
			t.Errorf("%s depends on %v", name, c.DependsOn)
		}
		grace, err := time.ParseDuration(c.Grace)
		if err != nil || grace <= a.DrainTimeout+30*time.Second {
			t.Errorf("%s is killed after %s, and may drain for %s: %v", name, c.Grace, a.DrainTimeout, err)
		}
	}
}

// TestContainersAreLocked: no container may do more than it must, take all memory, or fill the disk with its log.
func TestContainersAreLocked(t *testing.T) {
	s := compose(t, map[string]string{"UID": "7", "GID": "8"})
	for name, c := range s.Services {
		if !c.ReadOnly || !slices.Equal(c.CapDrop, []string{"ALL"}) || !slices.Equal(c.SecurityOpt, []string{"no-new-privileges:true"}) || c.Privileged {
			t.Errorf("%s may do more than it must", name)
		}
		if bytesOf(t, c.MemLimit) == 0 {
			t.Errorf("%s has no limit", name)
		}
		if c.Logging == nil || c.Logging.Driver != "json-file" || c.Logging.Options["max-size"] == "" || c.Logging.Options["max-file"] == "" {
			t.Errorf("the log of %s grows without bound", name)
		}
		for _, p := range c.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s listens on all addresses: %s", name, p)
			}
		}
		if _, tag, ok := strings.Cut(c.Image, ":"); c.Build == nil && !strings.HasPrefix(c.Image, "sluice") && (!ok || tag == "latest") {
			t.Errorf("%s is any %s", name, c.Image)
		}
		if !slices.Contains([]string{"prometheus", "grafana"}, name) && c.User != "7:8" {
			t.Errorf("%s runs as %q", name, c.User)
		}
		if strings.HasPrefix(c.Image, "sluice") && name != "operator" {
			if c.Healthcheck == nil || !slices.Equal(c.Healthcheck.Test, []string{"CMD", "sluice", "health"}) {
				t.Errorf("nobody knows how %s is", name)
			}
			if !slices.Contains(c.Volumes, "slab:/dev/shm") || !slices.Contains(c.Volumes, "./data:/data") {
				t.Errorf("%s has the volumes %v", name, c.Volumes)
			}
		}
	}
	options := s.Volumes["slab"].Options["o"]
	for _, want := range []string{"mode=0700", "uid=7", "gid=8"} {
		if !slices.Contains(strings.Split(options, ","), want) {
			t.Errorf("the slab's volume has %s, not %s", options, want)
		}
	}
}

// budgetFits checks that what follows from the budget does: acquire's limit is the budget and 192 MiB, the slab is larger
// than the budget and smaller than the limit.
func budgetFits(t *testing.T, env map[string]string, budget int64) {
	t.Helper()
	s := compose(t, env)
	acquire := s.Services["acquire"]
	if b := bytesOf(t, acquire.Environment["SLUICE_BUDGET"]); b != budget {
		t.Errorf("the budget is %d, want %d", b, budget)
	}
	if l := bytesOf(t, acquire.MemLimit); l != budget+192<<20 {
		t.Errorf("acquire has %d bytes beyond the budget", l-budget)
	}
	if l := bytesOf(t, s.Services["acquire-opencv"].MemLimit); l != budget+384<<20 {
		t.Errorf("acquire with OpenCV has %d bytes beyond the budget", l-budget)
	}
	size, _, _ := strings.Cut(strings.TrimPrefix(s.Volumes["slab"].Options["o"], "size="), ",")
	if n := bytesOf(t, size); n != budget+64<<20 {
		t.Errorf("the slab's volume has %d bytes beyond the budget", n-budget)
	}
}

// TestBudget: docker-compose.yml alone, and with .env.example.
func TestBudget(t *testing.T) {
	example := dotenv(t, filepath.Join(root, ".env.example"))
	budgetFits(t, nil, 512<<20)
	budgetFits(t, example, 512<<20)
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, m := range variable.FindAllStringSubmatch(string(text), -1) {
		used[m[1]] = true
		if example[m[1]] != m[2] {
			t.Errorf("%s is %q in .env.example and %q in docker-compose.yml", m[1], example[m[1]], m[2])
		}
	}
	if len(used) != len(example) {
		t.Errorf("docker-compose.yml has %d variables, .env.example %d", len(used), len(example))
	}
}
