package config

import (
	"errors"
	"testing"
)

func TestMemberName(t *testing.T) {
	for _, c := range []struct {
		pid        int
		host, want string
	}{
		{77, "rig", "writer-77"},
		{1, "", "writer-1"},
		{1, "3f2a91c0b7de", "writer-3f2a91c0b7de"},
		{1, "Rig.Example_1", "writer-rig-example_1"},
		{1, "stage-of-the-microscope-7d9f8b6c5-x2x4z", "writer-icroscope-7d9f8b6c5-x2x4z"},
		{1, "ä", "writer--"},
	} {
		name := memberName("writer", c.pid, func() (string, error) {
			if c.host == "" {
				return "", errors.New("none")
			}
			return c.host, nil
		})
		var n Name
		if err := n.UnmarshalText([]byte(name)); err != nil || name != c.want {
			t.Errorf("process %d on %q is %s, want %s; %v", c.pid, c.host, name, c.want, err)
		}
	}
	if name := (Member{Name: "w1"}).NameIn("writer"); name != "w1" {
		t.Errorf("the name that was given became %s", name)
	}
}
