package gateway

import (
	"testing"
	"testing/fstest"
)

func TestMemoryOf(t *testing.T) {
	const meminfo = "MemTotal:       16000 kB\nMemFree:         1000 kB\n"
	for _, c := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"a machine", map[string]string{"proc/meminfo": meminfo}, 16000 << 10},
		{"a container", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "4096000\n"}, 4096000},
		{"a service", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/assent.service\n",
			"sys/fs/cgroup/system.slice/assent.service/memory.max": "max\n", "sys/fs/cgroup/system.slice/memory.max": "8192000\n"}, 8192000},
		{"a service without a limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/system.slice/assent.service\n",
			"sys/fs/cgroup/system.slice/assent.service/memory.max": "max\n"}, 16000 << 10},
		{"the first version of control groups", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "3:cpu,cpuacct:/docker/1\n2:memory:/docker/1\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "2048000\n"}, 2048000},
		{"one without a limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "2:memory:/\n",
			"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16000 << 10},
		{"another system", nil, 0},
		{"what cannot be read", map[string]string{"proc/meminfo": "MemTotal: many\n", "proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "-1\n"}, 0},
	} {
		files := make(fstest.MapFS)
		for name, text := range c.files {
			files[name] = &fstest.MapFile{Data: []byte(text)}
		}
		if got := memoryOf(files); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}
