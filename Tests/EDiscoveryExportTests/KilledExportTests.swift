import EDiscoveryExport
import EDiscoveryModel
import Foundation
import Glibc
import Testing
import WireText

/// Exports in another process, which is killed at some point or comes to its end.
///
/// Both processes know the place from the number of the first one, and the point from a file there.
@Suite("Export that is killed", .serialized)
struct KilledExportTests {
    private static func place(_ process: pid_t) -> String { "/tmp/hds-test-killed-export-\(process)" }

    @Test(
        "After a kill at any point the next run gives the same octets as one that nobody disturbed",
        arguments: ["item 1", "item 5", "chunk 2", "chunk 6", "last item", "signature"])
    func killed(point: String) async throws {
        let place = Self.place(getpid())
        mkdir(place, 0o700)
        defer { try? FileManager.default.removeItem(atPath: place) }
        try Data(point.utf8).write(to: URL(fileURLWithPath: place + "/point"))
        await #expect(processExitsWith: .signal(SIGKILL)) {
            try await KilledExportTests.exportInPlace(KilledExportTests.place(getppid()), in: ExportFixture())
        }
        #expect(access(place + "/export", F_OK) != 0 && access(place + "/export.partial", F_OK) == 0)
        unlink(place + "/point")
        let fixture = try ExportFixture()
        try await Self.exportInPlace(place, in: fixture)
        #expect(try ExportVerifier(folder: place + "/export", key: fixture.jwk).verify().isSound)
        try await fixture.export(to: "export")
        try Self.compare(place + "/export", fixture)
    }

    @Test("Another process with other seeds of its hash tables gives the same octets")
    func elsewhere() async throws {
        let place = Self.place(getpid())
        mkdir(place, 0o700)
        defer { try? FileManager.default.removeItem(atPath: place) }
        await #expect(processExitsWith: .success) {
            try await KilledExportTests.exportInPlace(KilledExportTests.place(getppid()), in: ExportFixture())
        }
        let fixture = try ExportFixture()
        try await fixture.export(to: "export")
        try Self.compare(place + "/export", fixture)
    }

    private static func compare(_ other: String, _ fixture: ExportFixture) throws {
        let files = try fixture.files(below: "export")
        #expect(try FileManager.default.subpathsOfDirectory(atPath: other).count > files.count)
        let signed = ["data/proof/root.jws", "manifest-sha256.txt", "tagmanifest-sha256.txt"]
        for file in files where !signed.contains(file) {
            let octets = try Data(contentsOf: URL(fileURLWithPath: other + "/" + file))
            let isEqual = try Array(octets) == fixture.bytes("export/" + file)
            #expect(isEqual, "\(file)")
        }
    }

    private static func exportInPlace(_ place: String, in fixture: ExportFixture) async throws {
        let point = (try? String(contentsOfFile: place + "/point", encoding: .utf8)) ?? ""
        func pass(_ name: String) { if name == point { kill(getpid(), SIGKILL) } }
        var spaces = ExportFixture.spaces.makeIterator()
        var items = ExportFixture.items.makeIterator()
        var (item, chunk) = (0, 0)
        let source = ExportSource(
            nextSpace: { spaces.next() },
            nextItem: {
                item += 1
                pass("item \(item)")
                guard let next = items.next() else {
                    pass("last item")
                    return nil
                }
                return next
            },
            file: { reference in
                guard var octets = ExportFixture.files[reference]?[...] else { return nil }
                return {
                    chunk += 1
                    pass("chunk \(chunk)")
                    guard !octets.isEmpty else { return nil }
                    defer { octets = octets.dropFirst(100) }
                    return Array(octets.prefix(100))
                }
            })
        _ = try await ReportExport(ExportFixture.settings()).write(to: place + "/export", from: source) { statement in
            pass("signature")
            return try fixture.sign(statement)
        }
    }
}
