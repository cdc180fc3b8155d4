// Package deploy_test holds what is shipped under deploy/ against the programs: every configuration loads, and
// every command in docker-compose.yml is one that its program takes.
package deploy_test

import (
	"io"
	"path/filepath"
	"testing"

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
	file := filepath.Join(root, "deploy", "sluice.yaml")
	a := parse(t, "acquire", []string{"--config", file}, nil).(*config.Acquire)
	if a.Camera.Camera != "cam0" || len(a.Require) != 1 || a.Require[0].Members != 2 || a.Budget != 0 {
		t.Errorf("camera %s, require %v, budget %s, which is .env's affair", a.Camera.Camera, a.Require, a.Budget)
	}
}
