import ArgumentParser
import Diagnostics
import WireText

/// `hdsctl clients`: which programs bring tokens to the KMS, how often, when last, and how the policy takes each.
struct ClientsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clients",
        abstract:
            "Show which clients bring tokens to the KMS, how often and when last, and what the policy says to each.",
        discussion: """
            Counts are of this node since it started. A client is let in by a consent that names it, or, as a program of \
            persons, by personalClients in the signed policy; an integration by a consent only. To shut one out take it out \
            of the policy, and set blocked in the accounts of the authorization service so that it gets no tokens.
            """)

    @OptionGroup var question: QuestionOptions

    func run() throws {
        try question.ask("clients") { answer in
            let clients = answer["clients"]?.elements ?? []
            print("since \(answer.text("since")), policy version \(answer["policyVersion"]?.integer ?? 0)")
            guard !clients.isEmpty else { return print("no client yet") }
            var rows = [["client", "kind", "requests", "refused", "last used", "policy"]]
            for client in clients {
                let name = client.text("client")
                rows.append([
                    Terminal.plain(name.isEmpty ? "(others)" : name),
                    client["integration"]?.boolean == true ? "integration" : "-",
                    "\(client["requests"]?.integer ?? 0)", "\(client["refusals"]?.integer ?? 0)", client.text("last"),
                    client.text("standing"),
                ])
            }
            for line in Columns.lines(rows) { print(line) }
        }
    }
}
