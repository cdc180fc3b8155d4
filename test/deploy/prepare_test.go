package deploy_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPrepare: deploy/prepare makes .env, the folder for stores and the passwords, keeps what is there, and writes a
// budget with what follows from it.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "deploy"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".env.example", "deploy/prepare", "deploy/passwords"} {
		if out, err := exec.Command("cp", filepath.Join(root, name), filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	prepare := func(args ...string) error {
		t.Helper()
		out, err := exec.Command(filepath.Join(dir, "deploy", "prepare"), args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}
	env := filepath.Join(dir, ".env")
	if err := prepare(); err != nil {
		t.Fatal(err)
	}
	made := dotenv(t, env)
	if made["UID"] != strconv.Itoa(os.Getuid()) || made["GID"] != strconv.Itoa(os.Getgid()) {
		t.Errorf("the stores would be %s:%s's", made["UID"], made["GID"])
	}
	budgetFits(t, made, 512<<20)
	for _, name := range []string{"data", "deploy/secrets/writer.password"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if err := os.WriteFile(env, []byte("UID=77\nDATA=./elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := prepare("1024"); err != nil {
		t.Fatal(err)
	}
	changed := dotenv(t, env)
	if changed["UID"] != "77" {
		t.Errorf("what was set is %v", changed)
	}
	budgetFits(t, changed, 1<<30)
	if _, err := os.Stat(filepath.Join(dir, "elsewhere")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"1GiB", "-1", "0", "1.5"} {
		if prepare(bad) == nil {
			t.Errorf("%s is no number of MiB", bad)
		}
	}
}
