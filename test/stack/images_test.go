//go:build stack

package stack_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	// root is the checkout.
	root = "../.."
	// debian is a small Debian, which `make deps-stack` makes.
	debian = root + "/.cache/debian-bookworm.tar"
)

// standIns makes the base images that the Dockerfile and docker-compose.yml name, since no registry is asked: Debian with
// this machine's Go and the modules that it has, and the NATS server that the tests use. They bear the names of the real
// ones, so that what is tested is what users get.
func (e *engine) standIns() {
	e.t.Helper()
	if _, err := os.Stat(debian); err != nil {
		e.t.Fatalf("%v: make deps-stack makes it", err)
	}
	dir := e.t.TempDir()
	base := filepath.Join(dir, "base.tar")
	output(e.t, exec.Command("cp", debian, base))
	output(e.t, exec.Command("tar", "--append", "--file", base, "--transform", "s,^,usr/local/go/,",
		"--directory", goEnv(e.t, "GOROOT"), "bin", "go.env", "lib", "pkg", "src", "VERSION"))
	output(e.t, exec.Command("tar", "--append", "--file", base, "--transform", "s,^,go/pkg/mod/,",
		"--directory", modules(e.t, filepath.Join(dir, "modules")), "cache/download"))
	e.docker("import",
		"--change", "ENV PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "--change", "ENV GOPATH=/go",
		"--change", "ENV GOTOOLCHAIN=local", base, "golang:1.26-bookworm")

	build := exec.Command("go", "build", "-o", filepath.Join(dir, "nats", "nats-server"), "github.com/nats-io/nats-server/v2")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	output(e.t, build)
	broker := filepath.Join(dir, "nats.tar")
	output(e.t, exec.Command("tar", "--create", "--file", broker, "--directory", filepath.Join(dir, "nats"), "nats-server"))
	e.docker("import", "--change", `ENTRYPOINT ["/nats-server"]`, broker, "nats:2.15")
}

// modules fills a module cache with what go.mod names, out of this machine's.
func modules(t *testing.T, dir string) string {
	t.Helper()
	cmd := exec.Command("go", "mod", "download")
	cmd.Env = append(os.Environ(), "GOMODCACHE="+dir, "GOFLAGS=-modcacherw",
		"GOPROXY=file://"+filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")+","+goEnv(t, "GOPROXY"))
	output(t, cmd)
	return dir
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	return strings.TrimSpace(output(t, exec.Command("go", "env", name)))
}
