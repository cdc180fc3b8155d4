// Package deploy_test holds what is shipped under deploy/ against the programs: every configuration loads, and
// every command in docker-compose.yml is one that its program takes.
package deploy_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/sluicedaq/sluice/internal/config"
)

const root = "../.."

// parse has the program of that name read its arguments.
func parse(t *testing.T, name string, args []string, env map[string]string) any {
	t.Helper()
	cli := map[string]any{"acquire": &config.Acquire{}, "writer": &config.Writer{}, "analyze": &config.Analyze{}}[name]
	if cli == nil {
		t.Fatalf("%q is none of acquire, writer and analyze", name)
	}
	_, err := config.Parse(config.Program{
		Name: name, CLI: cli, Args: args, Stdout: io.Discard,
		Getenv: func(k string) string { return env[k] },
	})
	if err != nil {
		t.Errorf("%s %q: %v", name, args, err)
	}
	return cli
}

func TestConfigurationsLoad(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "deploy", "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations under deploy/ (%v)", err)
	}
	for _, f := range files {
		for _, name := range []string{"acquire", "writer", "analyze"} {
			parse(t, name, []string{"--config", f}, nil)
		}
	}
}

func TestStackConfiguration(t *testing.T) {
	a := parse(t, "acquire", []string{"--config", filepath.Join(root, "deploy", "sluice.yaml")}, nil).(*config.Acquire)
	if a.Budget != 512<<20 || a.Camera.Camera != "cam0" || len(a.Require) != 1 || a.Require[0].Members != 2 {
		t.Errorf("budget %s, camera %s, require %v", a.Budget, a.Camera.Camera, a.Require)
	}
}

func TestComposeCommands(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Command     []string
			Environment map[string]string
		}
	}
	if err := yaml.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for service, s := range compose.Services {
		if slices.Contains([]string{"nats", "operator", "prometheus", "grafana"}, service) {
			continue
		}
		if len(s.Command) == 0 {
			t.Fatalf("%s has no command", service)
		}
		program := s.Command[0]
		counts[program]++
		args := s.Command[1:]
		for i, a := range args {
			if a == "/etc/sluice/sluice.yaml" {
				args[i] = filepath.Join(root, "deploy", "sluice.yaml")
			}
		}
		parse(t, program, args, s.Environment)
		if s.Environment["SLUICE_NATS"] == "" || s.Environment["SLUICE_NATS_USER"] != program {
			t.Errorf("%s does not know its broker, or is not who it is: %v", service, s.Environment)
		}
	}
	if counts["acquire"] != 1 || counts["writer"] != 2 || counts["analyze"] != 1 {
		t.Errorf("the stack has %v: the configuration asks for two writers", counts)
	}
}
