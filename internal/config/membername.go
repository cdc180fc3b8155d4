package config

import (
	"fmt"
	"os"
	"strings"
)

// maxName is the length of a Name.
const maxName = 32

// NameIn is the member's name. Where none was given it is that of its group with the process id. The first process of a
// container has the id 1 in each: there it is the host name, which a container keeps when it is started again, so that
// the member gets back what was its own.
func (m Member) NameIn(group string) string {
	if m.Name != "" {
		return string(m.Name)
	}
	return memberName(group, os.Getpid(), os.Hostname)
}

func memberName(group string, pid int, hostname func() (string, error)) string {
	host, err := hostname()
	if pid != 1 || err != nil {
		return fmt.Sprintf("%s-%d", group, pid)
	}
	host = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' {
			return r
		}
		return '-'
	}, strings.ToLower(host))
	// The end is what differs where host names are generated.
	return group + "-" + host[max(0, len(host)-(maxName-len(group)-1)):]
}
