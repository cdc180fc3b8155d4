package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// The variables by which processes of a run talk to each other, beside options.
const (
	// ParentVar is the descriptor of the pipe whose end tells that the supervisor is gone.
	ParentVar = "SLUICE_PARENT_FD"
	// DetachedVar is the descriptor over which a detached run tells of its start.
	DetachedVar = "SLUICE_DETACHED_FD"
)

// checkVariables refuses variables that look like options and are none, of this program or of another that the same
// environment may serve. Variables that getenv does not have are not looked at.
func checkVariables(model *kong.Application, getenv func(string) string) error {
	if getenv == nil {
		return nil
	}
	known, err := knownKeys()
	if err != nil {
		return err
	}
	names := map[string]bool{ParentVar: true, DetachedVar: true, EnvName("config"): true}
	for key := range known {
		names[EnvName(key)] = true
	}
	err = kong.Visit(model, func(node kong.Visitable, next kong.Next) error {
		if f, ok := node.(*kong.Flag); ok {
			names[EnvName(f.Name)] = true
		}
		return next(nil)
	})
	if err != nil {
		return fmt.Errorf("collecting the known options: %w", err)
	}
	for _, e := range slices.Sorted(slices.Values(os.Environ())) {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasPrefix(name, "SLUICE_") && !names[name] && getenv(name) != "" {
			return fmt.Errorf("%w: there is no option for the variable %s", ErrValue, name)
		}
	}
	return nil
}
