import Foundation
import HDSClient
import Testing

extension StoryTests {
    /// The health address in a browser: a real service, a real Chromium.
    @Suite("The health page") struct HealthPageTests {
        @Test(
            "a browser shows state, alarms with fixes and pictures; a hostile text stays text; only its own script runs"
        )
        func opened() async throws {
            guard Browser.isHere else {
                return print(
                    "skipped: THE HEALTH PAGE WAS NOT OPENED: there is no chromium here (apt-get install chromium)")
            }
            // A folder that is not there, whose name would be markup.
            let hostile = "<img src=x onerror=document.title='taken'>"
            try await Deployment.with(change: { domain in
                try domain.replace(
                    "control:\n", with: "backup:\n  folder: \"\(domain.path("kms"))/\(hostile)\"\ncontrol:\n",
                    in: "kms/hds-kms.yaml")
            }) { deployment in
                let alice = try await Person.logIn("alice", in: deployment)
                _ = try await alice.spaces.create(name: "Seen", with: [])
                _ =
                    try await eventually("the alarm") {
                        let body = try await deployment.answer(of: .kms, "/healthz").body
                        return String(decoding: body, as: UTF8.self).contains("HDS-BACKUP-STALE") ? true : nil
                    } as Bool
                let url = "http://127.0.0.1:\(deployment.domain.healthPort(of: .kms))/"
                let folder = deployment.domain.folder
                let document = try await Browser.open(url, in: folder, ["--dump-dom"])
                #expect(document.contains("<h1>hds-kms</h1>"), "\(document.prefix(2000))")
                for text in [
                    "HDS-BACKUP-STALE", "HDS-MASTERKEY-NOT-ESCROWED", "What to do:", "Link to the core", "Memory",
                    "&lt;img src=x onerror=document.title='taken'&gt;",
                ] {
                    #expect(document.contains(text), "\(text)")
                }
                #expect(!document.contains("<img") && !document.contains("<title>taken"))
                // The script has run: it shows its button. The policy that lets it in has no other.
                let button = try #require(document.range(of: "<button[^>]*>", options: .regularExpression))
                #expect(!document[button].contains("hidden"), "\(document[button])")

                let picture = deployment.domain.path("page.png")
                _ = try await Browser.open(url, in: folder, ["--screenshot=\(picture)"])
                let bytes = try Data(contentsOf: URL(fileURLWithPath: picture))
                #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]))
                // A page without its style, or an empty one, is a small picture.
                #expect(bytes.count > 40_000, "\(bytes.count) octets")
                if let kept = ProcessInfo.processInfo.environment["HDS_SCREENSHOTS"] {
                    try bytes.write(to: URL(fileURLWithPath: kept + "/health-page.png"))
                }
            }
        }
    }
}
