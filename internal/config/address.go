package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is where to listen: HOST:PORT, where 0 is any port that is free.
type Address string

// UnmarshalText implements [encoding.TextUnmarshaler]: HOST:PORT, or a PORT of loopback. All of a machine's addresses must
// be asked for by name, as 0.0.0.0 or [::].
func (a *Address) UnmarshalText(text []byte) error {
	s := string(text)
	if !strings.Contains(s, ":") {
		s = "127.0.0.1:" + s
	}
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	if err != nil || host == "" || portErr != nil {
		return fmt.Errorf("%w: %q is not HOST:PORT, such as 127.0.0.1:9464", ErrValue, text)
	}
	*a = Address(net.JoinHostPort(host, strconv.FormatUint(n, 10)))
	return nil
}
