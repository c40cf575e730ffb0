package engine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryOfControlGroups(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int
	}{
		{"nothing known", nil, -1},
		{"the system alone", map[string]string{"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 2000 kB\n"}, 2000 << 10},
		{"version 2", map[string]string{
			"proc/meminfo": "MemAvailable: 2000 kB\n", "proc/self/cgroup": "0::/a/b\n",
			"sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/b/memory.current": "5\n",
			"sys/fs/cgroup/a/memory.max": "1000\n", "sys/fs/cgroup/a/memory.current": "700\n",
			"sys/fs/cgroup/a/memory.stat": "anon 600\ninactive_file 100\n",
		}, 400},
		{"version 1", map[string]string{
			"proc/meminfo": "MemAvailable: 2000 kB\n", "proc/self/cgroup": "4:memory:/x\n0::/\n",
			"sys/fs/cgroup/memory/x/memory.limit_in_bytes": "1000\n", "sys/fs/cgroup/memory/x/memory.usage_in_bytes": "900\n",
			"sys/fs/cgroup/memory/x/memory.stat": "total_inactive_file 50\n",
		}, 150},
		{"a path of the machine, in a container", map[string]string{
			"proc/self/cgroup": "4:memory:/docker/77\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "1200\n",
		}, 0},
		{"no limit", map[string]string{
			"proc/meminfo": "MemAvailable: 1 kB\n", "proc/self/cgroup": "4:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1200\n",
		}, 1024},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if got := memoryBelow(root); got != c.want {
			t.Errorf("%s: %d bytes, want %d", c.name, got, c.want)
		}
	}
}
