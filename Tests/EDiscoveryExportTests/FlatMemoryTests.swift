import EDiscoveryExport
import EDiscoveryModel
import Foundation
import TestServers
import Testing
import WireText

@Suite("A large report")
struct FlatMemoryTests {
    /// Resident memory of the process, in octets.
    private static func resident() -> Int {
        let text = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8)) ?? ""
        return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
    }

    @Test(
        "Ten thousand items and 60 MB of files go through in memory that does not grow with them, and are verified so")
    func flat() async throws {
        // A process of its own: the memory of other tests beside it is not this one's.
        await #expect(processExitsWith: .success) { try await Self.exportMuch() }
    }

    private static func exportMuch() async throws {
        let fixture = try ExportFixture()
        let count: UInt64 = 10_000
        let large = 60
        let text = String(repeating: "Some words of a longer message. ", count: 20)
        let piece = [UInt8](repeating: 7, count: 1 << 20)
        var spaces = (0..<10).map { CollectedSpace(id: "space-\($0)", title: "Space \($0)") }.makeIterator()
        var sequence: UInt64 = 0
        // The highest of what was seen while it was running, over what was there when it began to be busy.
        var base = 0
        var peak = 0
        let source = ExportSource(
            nextSpace: { spaces.next() },
            nextItem: {
                guard sequence < count else { return nil }
                sequence += 1
                if sequence == 500 { base = Self.resident() }
                if sequence % 100 == 0 { peak = max(peak, Self.resident()) }
                var item = ExportFixture.item(sequence, space: "space-\((sequence - 1) / 1000)", "\(sequence) \(text)")
                if sequence % 1000 == 999 { item.files = [CollectedFile(name: "large.bin", reference: "large")] }
                return item
            },
            file: { _ in
                var rest = large / 10
                return {
                    peak = max(peak, Self.resident())
                    rest -= 1
                    return rest >= 0 ? piece : nil
                }
            })
        // Files by the thousand take long on slow disks: those forms are with the tests that take minutes.
        let settings = try ExportFixture.settings(
            formats: LongTests.areWanted ? Set(ExportFormat.allCases) : [.jsonl, .mbox, .csv, .html])
        let statement = try await ReportExport(settings).write(
            to: fixture.path("export"), from: source, sign: fixture.sign)
        #expect(statement.size == Int64(count))
        #expect(base > 0 && peak - base < 16 << 20, "grew by \((peak - base) >> 20) MiB")
        let before = Self.resident()
        let report = try ExportVerifier(folder: fixture.path("export"), key: fixture.jwk).verify()
        #expect(report.isSound, "\(report.findings.prefix(5))")
        #expect(Self.resident() - before < 16 << 20)
    }
}
