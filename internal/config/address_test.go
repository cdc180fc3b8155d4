package config_test

import (
	"errors"
	"testing"

	"github.com/sluicedaq/sluice/internal/config"
)

func TestAddress(t *testing.T) {
	for text, want := range map[string]config.Address{
		"127.0.0.1:9464": "127.0.0.1:9464", "9464": "127.0.0.1:9464", "localhost:0": "localhost:0", "[::1]:80": "[::1]:80",
		"0.0.0.0:09464": "0.0.0.0:9464",
	} {
		var a config.Address
		if err := a.UnmarshalText([]byte(text)); err != nil || a != want {
			t.Errorf("%s: %s, %v", text, a, err)
		}
	}
	for _, text := range []string{"", ":9464", "host", "host:", "host:http", "h:65536", "h:-1", "::1:80", "1:2:3", "http://h:1"} {
		a := config.Address("kept")
		if err := a.UnmarshalText([]byte(text)); !errors.Is(err, config.ErrValue) || a != "kept" {
			t.Errorf("%q: %s, %v", text, a, err)
		}
	}
}
