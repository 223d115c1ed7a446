import Diagnostics
import Testing
import WireText

@testable import KMSService
@testable import Recovery

@Suite("What the destruction of a root key's version does to the backups")
struct DestructionReviewTests {
    private static let noon = Timestamp(iso8601: "2026-11-26T12:00:00Z")!
    private let present = DestructionReview.Present(
        host: "kms.example.com", active: 2, closed: Self.noon, keks: ["aaaa"], escrow: "eeee")

    /// A backup made so many seconds after the old version was closed.
    private func backup(
        _ name: String, after seconds: Int64, under version: Int64, carries: [Int64] = [1, 2], kek: String = "aaaa",
        escrow: String? = nil, host: String = "kms.example.com"
    ) -> (file: String, header: BackupHeader) {
        let roots = carries.map {
            BackupHeader.RootKey(version: $0, wrapped: [1], kek: kek, escrowed: escrow.map { _ in [2] })
        }
        return (
            name,
            BackupHeader(
                id: name, host: host, node: "n", created: Self.noon.adding(seconds: seconds), rootVersion: version,
                rootKeys: roots, escrow: escrow, sealedKey: [])
        )
    }

    private func proof(_ backup: (file: String, header: BackupHeader)) -> VerifiedBackup {
        VerifiedBackup(
            id: backup.header.id, file: backup.file, host: backup.header.host, created: backup.header.created,
            verified: Self.noon.adding(seconds: 100), rootVersion: backup.header.rootVersion,
            rootVersions: backup.header.rootKeys.map(\.version), opened: 3)
    }

    @Test("a backup dies when neither the present master key nor the present escrow opens it")
    func dying() {
        let all = [
            backup("old key", after: -9, under: 1, carries: [1], kek: "bbbb"),
            backup("old key and escrow", after: -8, under: 1, carries: [1], kek: "bbbb", escrow: "dddd"),
            backup("present escrow", after: -7, under: 1, carries: [1], kek: "bbbb", escrow: "eeee"),
            backup("present key", after: -6, under: 1, carries: [1], escrow: "dddd"),
            backup("during the rotation", after: -5, under: 2, kek: "bbbb"),
            backup("since then", after: 5, under: 2, kek: "bbbb"),
            backup("without it", after: -4, under: 2, carries: [2], kek: "bbbb"),
            backup("another one's", after: -9, under: 1, carries: [1], kek: "bbbb", host: "kms.partner.example.org"),
        ]
        let review = DestructionReview(of: 1, headers: all, verified: [proof(all[3])], present)
        #expect(
            review.affected.map(\.file) == [
                "during the rotation", "present key", "present escrow", "old key and escrow", "old key",
            ])
        #expect(review.affected.map(\.dies) == [true, false, false, true, true])
        #expect(review.affected[1].opensWith == ["master key aaaa"] && review.affected[1].verified != nil)
        #expect(review.affected[2].opensWith == ["escrow eeee"])
        #expect(review.affected[3].openedWith == ["master key bbbb", "escrow dddd"])
    }

    @Test("what counts as the newer one: proved, made after the old version was closed, under the active one, and open")
    func newer() {
        let good = backup("good", after: 5, under: 2, carries: [1, 2])
        func refusal(
            _ backup: (file: String, header: BackupHeader), proved: VerifiedBackup? = nil,
            _ present: DestructionReview.Present? = nil
        ) -> DiagnosedError? {
            DestructionReview(
                of: 1, headers: [backup], verified: [proved ?? proof(backup)], present ?? self.present
            ).refusal
        }
        #expect(refusal(good) == nil)
        #expect(DestructionReview(of: 1, headers: [good], verified: [proof(good)], present).newer == proof(good))
        #expect(DestructionReview(of: 1, headers: [good], verified: [], present).refusal?.code == "rotation-refused")
        #expect(refusal(backup("before", after: 0, under: 2)) != nil)
        #expect(refusal(backup("old version", after: 5, under: 1)) != nil)
        #expect(refusal(backup("foreign", after: 5, under: 2, host: "kms.partner.example.org")) != nil)
        #expect(refusal(backup("shut", after: 5, under: 2, kek: "bbbb", escrow: "dddd")) != nil)
        #expect(refusal(backup("by shares", after: 5, under: 2, kek: "bbbb", escrow: "eeee")) == nil)
        // Another backup took the place of the proved one.
        #expect(refusal(good, proved: proof(("good", backup("other", after: 5, under: 2).header))) != nil)
        // No rotation was ever closed: nothing can be said of any backup.
        let never = DestructionReview.Present(
            host: "kms.example.com", active: 2, closed: nil, keks: ["aaaa"], escrow: nil)
        #expect(refusal(good, never) != nil)
    }
}
