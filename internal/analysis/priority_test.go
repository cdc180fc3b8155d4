package analysis_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicedaq/sluice/internal/analysis"
)

func TestLowerPriorityReachesEveryThread(t *testing.T) {
	const niceness = 3
	if err := analysis.LowerPriority(niceness); err != nil {
		t.Fatal(err)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		b, err := os.ReadFile("/proc/self/task/" + task.Name() + "/stat")
		if err != nil {
			continue // the thread has ended
		}
		// The niceness is field 19; the name in field 2 may have spaces but ends with the last parenthesis.
		fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		if nice, err := strconv.Atoi(fields[16]); err != nil || nice < niceness {
			t.Errorf("thread %s has niceness %s", task.Name(), fields[16])
		}
	}
}
