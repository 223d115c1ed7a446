import Testing

@testable import ServiceRuntime

@Suite("Pages that only the start needed")
struct StartPagesTests {
    @Test("only private mappings of files that are executed and not written are let go")
    func mappings() {
        let maps = """
            55d0c8a00000-55d0c8a10000 r--p 00000000 08:01 11 /usr/bin/hds-kms
            55d0c8a10000-55d0c8a3f000 r-xp 00010000 08:01 11 /usr/bin/hds-kms
            55d0c8a3f000-55d0c8a40000 rw-p 0003f000 08:01 11 /usr/bin/hds-kms
            55d0c8b00000-55d0c8b10000 rwxp 00010000 08:01 11 /usr/bin/with a space
            7f0000000000-7f0000001000 r-xp 00000000 00:00 0
            7f0000002000-7f0000005000 r-xp 00000000 08:01 12 /usr/lib/lib c.so.6
            7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
            7ffd00003000-7ffd00004000 r-xs 00000000 08:01 13 /dev/zero
            nonsense r-xp 0 0 0 /x
            """
        #expect(
            StartPages.codeMappings(in: maps) == [
                0x55d0_c8a1_0000..<0x55d0_c8a3_f000, 0x7f00_0000_2000..<0x7f00_0000_5000,
            ])
        #expect(StartPages.codeMappings(in: "").isEmpty)
    }

    @Test("the process goes on after it has let its code go")
    func release() {
        for round in 0..<3 {
            StartPages.release()
            #expect((0..<100).map { "\($0 * round)" }.joined().utf8.count > 99)
        }
    }
}
