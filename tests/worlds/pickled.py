"""An executor that gives tasks what another process would get."""

import pickle


class Pickled:
    """In order; the task, what is shared, the part and the result go through pickle."""

    def map(self, task, shared, parts):
        sent = pickle.dumps((task, shared))
        for part in parts:
            there, common = pickle.loads(sent)
            yield pickle.loads(pickle.dumps(there(common, pickle.loads(pickle.dumps(part)))))
