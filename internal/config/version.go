package config

import (
	"regexp"
	"runtime/debug"
	"strings"
)

// version is set by the linker: -ldflags "-X …/internal/config.version=v1.2.3".
var version string

// Version is the semantic version of this build, without a leading v: the linker's, else the module's,
// else 0.0.0-dev.
func Version() string {
	v := version
	if info, ok := debug.ReadBuildInfo(); v == "" && ok {
		v = info.Main.Version
	}
	v = strings.TrimPrefix(v, "v")
	if !regexp.MustCompile(`^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$`).MatchString(v) {
		return "0.0.0-dev"
	}
	return v
}

// Software names this build for people and for a store's attributes: "sluice v0.1.0 (commit)".
func Software() string {
	commit, dirty := "unknown commit", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && len(s.Value) >= 12:
				commit = s.Value[:12]
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = ", modified"
			}
		}
	}
	return "sluice v" + Version() + " (" + commit + dirty + ")"
}
